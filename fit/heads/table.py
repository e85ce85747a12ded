"""The table of heads: what is known about each without building it.

Nothing here imports scikit-learn or Keras, so that `fit heads` stays quick; `build` names the function or class, in a
module beside this one, that makes the estimator from the head's parameters.
"""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from fit.heads.parameters import Parameter, Value
from store.errors import UsageError
from store.suggestions import suggest

DEFAULT_HEAD = "logistic"


@dataclass(frozen=True)
class HeadKind:
    """One kind of head.

    Attributes:
        name: as --head takes it.
        build: the class or function that makes the estimator, as `module:name` within fit.heads.
        library: scikit-learn, keras, or custom.
        summary: what it is, in a line.
        parameters: its own ones.
        default_reduction: how spatial tensors become what it takes, if nothing else is asked for.
        streams: whether it learns batch by batch, so that features need not fit into memory.
        spatial: whether it takes nothing but tensors as they are, (height, width, channels).
        multi_label: whether rows may have several labels.
        one_per_label: whether each label then has an estimator of its own, see `fit.heads.labels`; otherwise one learns
            all labels.
        weighted: whether it takes --class-weight balanced.
        linear: whether it can be written as layers and so be exported.
        continues: whether it continues the backbone where that was cut.
        least_images: how many different images of each class it needs to learn from.
        takes_groups: whether its inner folds keep groups of images together.
        scales: whether it scales every feature by its deviation, of several blocks by their widths too.
        regression: the class or function that makes it for numbers, as `build`; "" of heads that predict classes alone.
        monitor: what decides which epoch's weights are kept, of heads that Keras fits.
    """

    name: str
    build: str
    library: str
    summary: str
    parameters: tuple[Parameter, ...]
    default_reduction: str = "avg"
    streams: bool = False
    spatial: bool = False
    multi_label: bool = False
    one_per_label: bool = False
    weighted: bool = False
    linear: bool = False
    continues: bool = False
    least_images: int = 1
    takes_groups: bool = False
    scales: bool = False
    regression: str = ""
    monitor: str = "val_loss"

    @property
    def exports(self) -> bool:
        """Whether the head can be written as layers: those of Keras, and linear ones."""
        return self.library == "keras" or self.linear

    @property
    def stops_early(self) -> bool:
        """Whether it is trained in epochs and stops at the best one on a validation."""
        return self.library == "keras"

    @property
    def logs_to_tensorboard(self) -> bool:
        """Whether the head can write its training to a folder for TensorBoard."""
        return self.library != "scikit-learn"

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, for `fit heads --json`."""
        return {
            **{name: getattr(self, name) for name in ("name", "build", "library", "summary")},
            "parameters": [asdict(parameter) for parameter in self.parameters],
            "streams": self.streams,
            "spatial": self.spatial,
            "several": self.multi_label,
            "weighted": self.weighted,
            "linear": self.linear,
            "continues": self.continues,
            "members": self.least_images,
            "takes_groups": self.takes_groups,
            "stops_early": self.stops_early,
            "exports": self.exports,
            "regression": bool(self.regression),
        }

    def require_possible(self, values: Mapping[str, Value]) -> None:
        """Raise UsageError if a parameter is below its smallest value."""
        for parameter in self.parameters:
            parameter.require_possible(values[parameter.name])

    def complete(self, given: Mapping[str, str | Value]) -> dict[str, Value]:
        """All parameters, those given and the others' defaults.

        Raises:
            UsageError: one that the head does not have, or a value of the wrong type.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                raise UsageError(
                    f"the head {self.name} has no parameter {name!r}: it has {', '.join(known) or 'none'}; "
                    f"{suggest('fit', 'heads')} lists those of every head"
                )
        values = {name: parameter.default for name, parameter in known.items()}
        return {**values, **{name: known[name].parse(str(value)) for name, value in given.items()}}


_EPOCHS = Parameter("epochs", 100, "passes over the training images at most; early stopping ends sooner", minimum=1)
_BATCH = Parameter("batch_size", 32, "images per step", minimum=1)
_RATE = Parameter("learning_rate", 0.001, "the optimizer's, at the start")
_OPTIMIZER = Parameter("optimizer", "adam", "adam, sgd, rmsprop, adamw, …: any of Keras'")
_DROPOUT = Parameter("dropout", 0.5, "fraction dropped before the last layer")
_TEN_EPOCHS = Parameter("epochs", 10, "passes over the training images at most", minimum=1)
_PATIENCE = Parameter(
    "patience", 10, "epochs without a better validation loss before it stops; halved: before the rate is cut", minimum=1
)
_MOMENTUM = Parameter("momentum", 0.9, "of sgd and rmsprop; other optimizers have none and are not given it")
_DROPOUT_DENSE = (
    Parameter("units", 1024, "of each of the three hidden layers"),
    Parameter("dropout", 0.5, "fraction dropped between them"),
    _MOMENTUM, _TEN_EPOCHS, _BATCH,
    Parameter("learning_rate", 0.0001, "the optimizer's, at the start"),
    Parameter("optimizer", "sgd", "adam, sgd, rmsprop, adamw, …: any of Keras'"),
    _PATIENCE,
)  # fmt: skip

CUSTOM_TRAINING = (_EPOCHS, _BATCH, _RATE, _OPTIMIZER, _PATIENCE)
"""What a custom Keras head takes beside its function's parameters."""

_TABLE = (
    HeadKind(
        "logistic", "sklearn:Logistic", "scikit-learn",
        "multinomial logistic regression on scaled features, its regularization chosen by log loss in inner folds",
        (
            Parameter("smallest", 0.001, "the strongest regularization tried (C)"),
            Parameter("largest", 10.0, "the weakest one tried (C)"),
            Parameter("steps", 5, "how many are tried, evenly on a log scale", minimum=1),
            Parameter("inner_folds", 5, "folds of the inner cross-validation", minimum=1),
        ),
        multi_label=True, one_per_label=True, weighted=True, linear=True, takes_groups=True, scales=True,
    ),
    HeadKind(
        "linear", "streamed:StreamedSoftmax", "scikit-learn",
        "what logistic is, learned batch by batch with a whole grid of settings at once: for millions of images",
        (
            Parameter("smallest", 0.001, "the strongest regularization tried (C)"),
            Parameter("largest", 10.0, "the weakest one tried (C)"),
            Parameter("steps", 5, "how many are tried, evenly on a log scale, each with two step sizes", minimum=1),
            Parameter("epochs", 4, "passes over the training images; over few images more, up to 400 steps", minimum=1),
        ),
        streams=True, weighted=True, linear=True, takes_groups=True, scales=True,
    ),
    HeadKind(
        "ridge", "ridge:CalibratedRidge", "scikit-learn",
        "ridge classifier on scaled features, regularization chosen by squared error in inner folds, sigmoid-calibrated",
        (
            Parameter("smallest", 1.0, "the weakest regularization tried (alpha)"),
            Parameter("largest", 100000.0, "the strongest one tried (alpha)"),
            Parameter("steps", 11, "how many are tried, evenly on a log scale", minimum=1),
        ),
        weighted=True, linear=True, least_images=2, takes_groups=True, scales=True,
        regression="regressors:ridge",
    ),
    HeadKind(
        "linear_svm", "estimators:linear_svm", "scikit-learn",
        "linear support vector machine on scaled features, sigmoid-calibrated",
        (Parameter("c", 0.001, "inverse strength of the regularization (C)"),),
        weighted=True, linear=True, least_images=2, takes_groups=True, scales=True,
    ),
    HeadKind(
        "sgd", "sklearn:StochasticGradient", "scikit-learn",
        "logistic regression by stochastic gradient descent, batch by batch: for stores beyond memory",
        (
            Parameter("epochs", 20, "passes over the training images", minimum=1),
            Parameter("batch_size", 256, "images per step of reading", minimum=1),
            Parameter("learning_rate", 0.01, "the step size, constant"),
            Parameter("alpha", 0.03, "strength of the regularization"),
        ),
        streams=True, weighted=True, linear=True, scales=True,
    ),
    HeadKind(
        "knn", "estimators:nearest_neighbors", "scikit-learn",
        "the nearest neighbors' votes, weighted by their cosine similarity",
        (
            Parameter("neighbors", 20, "how many vote, of fewer images all", minimum=1),
            Parameter("temperature", 0.07, "a vote weighs exp(cosine / temperature)", minimum=1e-6),
        ),
        multi_label=True,
        regression="regressors:nearest_neighbors",
    ),
    HeadKind(
        "centroid", "estimators:nearest_centroid", "scikit-learn",
        "the nearest class mean of scaled features, temperature-calibrated",
        (),
        least_images=2, takes_groups=True, scales=True,
    ),
    HeadKind(
        "forest", "estimators:forest", "scikit-learn",
        "random forest",
        (
            Parameter("trees", 300, "how many", minimum=1),
            Parameter("min_leaf", 1, "the fewest images in a leaf"),
        ),
        weighted=True,
    ),
    HeadKind(
        "boosting", "estimators:boosting", "scikit-learn",
        "histogram gradient boosting",
        (
            Parameter("rounds", 60, "boosting rounds; each grows one tree per class", minimum=1),
            Parameter("learning_rate", 0.1, "shrinkage of each tree"),
            Parameter("leaves", 15, "the most leaves in a tree"),
            Parameter("features", 0.02, "fraction of the features that each split looks at"),
        ),
        weighted=True,
        regression="regressors:boosting",
    ),
    HeadKind(
        "mlp", "estimators:perceptron", "scikit-learn",
        "one hidden layer, by scikit-learn",
        (
            Parameter("units", 256, "of the hidden layer"),
            Parameter("alpha", 0.1, "strength of the L2 regularization"),
            Parameter("epochs", 30, "passes over the training images", minimum=1),
        ),
    ),
    HeadKind(
        "dense", "keras:Dense", "keras",
        "Dense, Dropout, softmax on the pooled features",
        (Parameter("units", 256, "of the hidden layer; 0 for none"), _DROPOUT, _EPOCHS, _BATCH, _RATE, _OPTIMIZER, _PATIENCE),
        streams=True, multi_label=True, weighted=True,
        regression="dense_regressor:DenseRegressor",
    ),
    HeadKind(
        "conv", "keras:Conv", "keras",
        "Conv2D, MaxPool, Flatten, Dense, Dropout, softmax on the spatial tensor",
        (
            Parameter("filters", 128, "of the convolution"),
            Parameter("kernel", 3, "width of the convolution"),
            Parameter("units", 256, "of the hidden layer"),
            _DROPOUT, _EPOCHS, _BATCH, _RATE, _OPTIMIZER, _PATIENCE,
        ),
        streams=True, spatial=True, weighted=True,
    ),
    HeadKind(
        "cnn", "keras:Cnn", "keras",
        "a small convolutional network from scratch on the images themselves (backbone pixels), augmented while training",
        (
            Parameter("filters", "32,32,64", "of each block's convolution, as many as there are blocks"),
            Parameter("kernel", 3, "width of the convolutions"),
            Parameter("padding", "same", "same or valid: whether convolutions reach over the edge", ("same", "valid")),
            Parameter(
                "activation", "relu", "relu, prelu (one slope per channel, shared over height and width) or leaky_relu",
                ("relu", "prelu", "leaky_relu"),
            ),
            Parameter("units", 64, "of the hidden layer"),
            _DROPOUT,
            Parameter("shear", 0.2, "training sees images sheared by up to this fraction of their width"),
            Parameter("zoom", 0.2, "and zoomed in or out by up to this fraction"),
            Parameter("flip", "horizontal", "and mirrored: horizontal or none", ("horizontal", "none")),
            _EPOCHS, _BATCH, _RATE, _OPTIMIZER,
            Parameter("patience", 10, "epochs without a smaller loss before it stops; halved: before the rate is cut", minimum=1),
        ),
        streams=True, spatial=True, multi_label=True, weighted=True,
    ),
    HeadKind(
        "dropout_dense", "keras:DropoutDense", "keras",
        "Flatten, three Dense with Dropout between them, softmax on the spatial tensor",
        _DROPOUT_DENSE,
        streams=True, spatial=True, weighted=True,
    ),
    HeadKind(
        "se", "keras:SqueezeExcite", "keras",
        "the same on channels scaled by a squeeze-and-excitation block",
        (Parameter("ratio", 4, "channels per unit of the block's first layer", minimum=1), *_DROPOUT_DENSE),
        streams=True, spatial=True, weighted=True,
    ),
    HeadKind(
        "mobilenet_dense", "keras:MobilenetDense", "keras",
        "three Dense, softmax on the pooled features",
        (
            Parameter("units", "1024,1024,512", "of each hidden layer, as many as there are layers"),
            _TEN_EPOCHS, _BATCH, _RATE, _OPTIMIZER, _PATIENCE,
        ),
        streams=True, weighted=True,
    ),
    HeadKind(
        "tail", "tail:Tail", "keras",
        "the rest of the backbone after --layer, trained on, then average pooling, Dropout, softmax",
        (
            _DROPOUT, _EPOCHS, _BATCH,
            Parameter("learning_rate", 0.0001, "the optimizer's, at the start"),
            _OPTIMIZER, _PATIENCE,
        ),
        streams=True, spatial=True, multi_label=True, weighted=True, continues=True,
    ),
)  # fmt: skip

HEADS = {kind.name: kind for kind in _TABLE}


def get_head(name: str) -> HeadKind:
    """The head of that name.

    Raises:
        UsageError: there is none; the message has the nearest name.
    """
    if name in HEADS:
        return HEADS[name]
    near = difflib.get_close_matches(name, HEADS, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"unknown head {name!r}: {hint}{suggest('fit', 'heads')} lists them; a custom head is named module:function"
    )


def is_custom(name: str) -> bool:
    """Whether a head of that name is a custom one: module:function, which a user's function builds."""
    return ":" in name


def folder_name(name: str) -> str:
    """What the folder of a head of that name is called, where nothing else is asked for."""
    return name.replace(":", ".")


def heads_with(parameter: str) -> list[str]:
    """The heads that have a parameter of that name."""
    return [kind.name for kind in _TABLE if any(known.name == parameter for known in kind.parameters)]
