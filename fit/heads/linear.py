"""Linear heads as one matrix product, so that they can be written as layers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from fit.heads.labels import OnePerLabel
from fit.heads.regressors import RidgeRegression
from fit.heads.sklearn import Calibrated
from fit.metrics.measured_rows import SMALLEST_PROBABILITY


@dataclass(frozen=True)
class Linear:
    """A head as `link(X @ kernel + bias)`.

    `kernel` is (features, outputs). `link`: softmax; sigmoid, of one output, the second of two classes; normalized,
    sigmoids divided by their sum; independent, sigmoids as they are, for rows with several labels; identity, of a number.
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
    if isinstance(estimator, OnePerLabel):
        return _independent(estimator)
    if isinstance(estimator, RidgeRegression):
        scale = estimator.scaler_.scale_
        kernel = (estimator.model_.coef_ / scale)[:, None]
        bias = np.array([estimator.model_.intercept_ - estimator.scaler_.mean_ @ kernel[:, 0]])
        return Linear(kernel, bias, "identity")
    slopes, offsets, link = np.ones(1), np.zeros(1), "normalized"
    if isinstance(estimator, Calibrated):
        model, slopes, offsets = estimator.estimator_, estimator.slopes_, estimator.offsets_
    else:
        model = estimator.model_
        link = "softmax" if isinstance(model, LogisticRegression) else "normalized"
    scaler = estimator.scaler_
    coefficients = np.atleast_2d(model.coef_).astype(np.float64)  # ridge has one axis where there are two classes
    kernel = (coefficients / scaler.scale_).T * slopes
    bias = (model.intercept_ - coefficients @ (scaler.mean_ / scaler.scale_)) * slopes + offsets
    return Linear(kernel, bias, "sigmoid" if kernel.shape[1] == 1 else link)


def _independent(estimator: OnePerLabel) -> Linear:
    """One column per label; of a label without an estimator, its frequency."""
    forms = {label: linear_form(inner) for label, inner in zip(estimator.labels_, estimator.estimators_, strict=True)}
    shape = (estimator.n_features_in_, len(estimator.frequencies_))
    frequencies = np.clip(estimator.frequencies_, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    kernel, bias = np.zeros(shape), np.log(frequencies / (1 - frequencies))
    for label, one in forms.items():
        kernel[:, label], bias[label] = one.kernel[:, 0], one.bias[0]
    return Linear(kernel, bias, "independent")
