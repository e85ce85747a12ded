"""Linear heads as one matrix product, so that they can be written as layers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier


@dataclass(frozen=True)
class Linear:
    """A head as `link(X @ kernel + bias)`.

    `kernel` is (features, outputs). `link`: softmax; sigmoid, of one output, the second of two classes; normalized,
    sigmoids divided by their sum; independent, sigmoids as they are, for rows with several labels.
    """

    kernel: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    link: str


def linear_form(estimator: ClassifierMixin) -> Linear:
    """The layers that a fitted Logistic, ridge, linear SVM or StochasticGradient is, scaling folded in."""
    if isinstance(estimator, OneVsRestClassifier):
        labels = [linear_form(inner) for inner in estimator.estimators_]
        kernel = np.concatenate([label.kernel for label in labels], axis=1)
        return Linear(kernel, np.concatenate([label.bias for label in labels]), "independent")
    slopes, offsets = np.ones(1), np.zeros(1)
    model = estimator.model_
    link = "softmax" if isinstance(model, LogisticRegression) else "normalized"
    if isinstance(model, CalibratedClassifierCV):
        inner = model.calibrated_classifiers_[0]
        # Platt's sigmoid is 1 / (1 + exp(a * score + b)).
        slopes = np.array([-calibrator.a_ for calibrator in inner.calibrators])
        offsets = np.array([-calibrator.b_ for calibrator in inner.calibrators])
        model = inner.estimator
    scaler = estimator.scaler_
    coefficients = np.atleast_2d(model.coef_).astype(np.float64)  # ridge has one axis where there are two classes
    kernel = (coefficients / scaler.scale_).T * slopes
    bias = (model.intercept_ - coefficients @ (scaler.mean_ / scaler.scale_)) * slopes + offsets
    return Linear(kernel, bias, "sigmoid" if kernel.shape[1] == 1 else link)
