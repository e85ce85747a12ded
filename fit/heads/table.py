"""The table of heads: what can be said of each without building it.

Nothing here imports scikit-learn or Keras, so that `fit heads` stays quick; `build` names the function or class,
in a module beside this one, that makes the estimator from the head's parameters.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from store.errors import UsageError

DEFAULT_HEAD = "logistic"

Value = int | float | str
"""What a parameter can be."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a head; its default tells its type. `choices` are all that it can be, where they are few."""

    name: str
    default: Value
    help: str
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> Value:
        """A value of the default's type.

        Raises:
            UsageError: the text is none, or not among the choices.
        """
        if self.choices and text not in self.choices:
            raise UsageError(f"{self.name} is {text!r}: expected one of {', '.join(self.choices)}")
        kind = type(self.default)
        try:
            return kind(text)
        except ValueError:
            expected = {int: "a whole number", float: "a number"}[kind]
            raise UsageError(
                f"{self.name} is {text!r}: expected {expected}, as in {self.name}={self.default}"
            ) from None


@dataclass(frozen=True)
class HeadKind:
    """One kind of head.

    `build` is `module:name` within fit.heads. `library` is scikit-learn or keras. `streams`: it learns batch by batch,
    so features need not fit into memory. `spatial`: it takes tensors as they are, (height, width, channels).
    `several`: rows may have several labels. `weighted`: it takes --class-weight balanced. `linear`: it can be written
    as layers and so be exported. `continues`: it goes on where the backbone was cut. `members` is how many images of each
    class it needs to learn from.
    """

    name: str
    build: str
    library: str
    summary: str
    parameters: tuple[Parameter, ...]
    streams: bool = False
    spatial: bool = False
    several: bool = False
    weighted: bool = False
    linear: bool = False
    continues: bool = False
    members: int = 1

    @property
    def exports(self) -> bool:
        """Whether it can be written as layers: Keras heads, and the linear ones."""
        return self.library == "keras" or self.linear

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
                    "`fit heads` lists those of every head"
                )
        values = {name: parameter.default for name, parameter in known.items()}
        return {**values, **{name: known[name].parse(str(value)) for name, value in given.items()}}


_EPOCHS = Parameter("epochs", 100, "passes over the training images at most; early stopping ends sooner")
_BATCH = Parameter("batch_size", 32, "images a step")
_RATE = Parameter("learning_rate", 0.001, "the optimizer's, at the start")
_OPTIMIZER = Parameter("optimizer", "adam", "adam, sgd, rmsprop, adamw, …: any of Keras'")
_DROPOUT = Parameter("dropout", 0.5, "fraction dropped before the last layer")
_TEN_EPOCHS = Parameter("epochs", 10, "passes over the training images at most")
_PATIENCE = Parameter(
    "patience", 10, "epochs without a better validation loss before it stops; halved: before the rate is cut"
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

OWN_TRAINING = (_EPOCHS, _BATCH, _RATE, _OPTIMIZER, _PATIENCE)
"""What a Keras head of one's own can be told beside its function's parameters."""

_TABLE = (
    HeadKind(
        "logistic", "sklearn:Logistic", "scikit-learn",
        "multinomial logistic regression on scaled features, its regularisation chosen by inner cross-validation",
        (
            Parameter("smallest", 0.001, "the strongest regularisation tried (C)"),
            Parameter("largest", 10.0, "the weakest one tried (C)"),
            Parameter("steps", 5, "how many are tried, evenly on a log scale"),
            Parameter("inner_folds", 5, "folds of the inner cross-validation"),
        ),
        several=True, weighted=True, linear=True, members=2,
    ),
    HeadKind(
        "ridge", "sklearn:ridge", "scikit-learn",
        "ridge classifier on scaled features, regularisation chosen by leave-one-out, sigmoid-calibrated",
        (
            Parameter("smallest", 1.0, "the weakest regularisation tried (alpha)"),
            Parameter("largest", 100000.0, "the strongest one tried (alpha)"),
            Parameter("steps", 11, "how many are tried, evenly on a log scale"),
        ),
        weighted=True, linear=True, members=2,
    ),
    HeadKind(
        "linear_svm", "sklearn:linear_svm", "scikit-learn",
        "linear support vector machine on scaled features, sigmoid-calibrated",
        (Parameter("c", 0.001, "inverse strength of the regularisation (C)"),),
        weighted=True, linear=True, members=2,
    ),
    HeadKind(
        "sgd", "sklearn:StochasticGradient", "scikit-learn",
        "logistic regression by stochastic gradient descent, batch by batch: for stores beyond memory",
        (
            Parameter("epochs", 20, "passes over the training images"),
            Parameter("batch_size", 256, "images a step of reading"),
            Parameter("learning_rate", 0.01, "the step size, constant"),
            Parameter("alpha", 0.03, "strength of the regularisation"),
        ),
        streams=True, weighted=True, linear=True,
    ),
    HeadKind(
        "knn", "sklearn:nearest_neighbors", "scikit-learn",
        "the nearest neighbours' votes, by cosine similarity",
        (Parameter("neighbors", 10, "how many vote"),),
        several=True,
    ),
    HeadKind(
        "centroid", "sklearn:nearest_centroid", "scikit-learn",
        "the nearest class mean of scaled features, temperature-calibrated",
        (),
        members=2,
    ),
    HeadKind(
        "forest", "sklearn:forest", "scikit-learn",
        "random forest",
        (
            Parameter("trees", 300, "how many"),
            Parameter("min_leaf", 1, "images a leaf at least"),
        ),
        weighted=True,
    ),
    HeadKind(
        "boosting", "sklearn:boosting", "scikit-learn",
        "histogram gradient boosting",
        (
            Parameter("rounds", 60, "boosting rounds; each grows one tree a class"),
            Parameter("learning_rate", 0.1, "shrinkage of each tree"),
            Parameter("leaves", 15, "leaves a tree at most"),
            Parameter("features", 0.02, "fraction of the features that each split looks at"),
        ),
        weighted=True,
    ),
    HeadKind(
        "mlp", "sklearn:perceptron", "scikit-learn",
        "one hidden layer, by scikit-learn",
        (
            Parameter("units", 256, "of the hidden layer"),
            Parameter("alpha", 0.1, "strength of the L2 regularisation"),
            Parameter("epochs", 30, "passes over the training images"),
        ),
    ),
    HeadKind(
        "dense", "keras:Dense", "keras",
        "Dense, Dropout, softmax on the pooled features",
        (Parameter("units", 256, "of the hidden layer; 0 for none"), _DROPOUT, _EPOCHS, _BATCH, _RATE, _OPTIMIZER, _PATIENCE),
        streams=True, several=True, weighted=True,
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
                "activation", "relu", "relu, prelu (a slope a channel, shared over height and width) or leaky_relu",
                ("relu", "prelu", "leaky_relu"),
            ),
            Parameter("units", 64, "of the hidden layer"),
            _DROPOUT,
            Parameter("shear", 0.2, "training sees images sheared by up to this fraction of their width"),
            Parameter("zoom", 0.2, "and zoomed in or out by up to this fraction"),
            Parameter("flip", "horizontal", "and mirrored: horizontal or none", ("horizontal", "none")),
            _EPOCHS, _BATCH, _RATE, _OPTIMIZER,
            Parameter(
                "patience", 10, "epochs without a better validation accuracy before it stops; halved: before the rate is cut"
            ),
        ),
        streams=True, spatial=True, several=True, weighted=True,
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
        (Parameter("ratio", 4, "channels a unit of the block's first layer"), *_DROPOUT_DENSE),
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
        streams=True, spatial=True, several=True, weighted=True, continues=True,
    ),
)  # fmt: skip

HEADS = {kind.name: kind for kind in _TABLE}


def get_head(name: str) -> HeadKind:
    """The head of that name.

    Raises:
        UsageError: there is none; the nearest names are said.
    """
    if name in HEADS:
        return HEADS[name]
    near = difflib.get_close_matches(name, HEADS, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"unknown head {name!r}: {hint}`fit heads` lists them; a head of your own is named module:function"
    )


def heads_with(parameter: str) -> list[str]:
    """The heads that have a parameter of that name."""
    return [kind.name for kind in _TABLE if any(known.name == parameter for known in kind.parameters)]
