"""Custom heads: a user's function, named module:function, that builds a Keras model or a scikit-learn estimator."""

import hashlib
import importlib
import inspect
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from extract.api import quiet_libraries, search_path, start_keras
from fit.choices import WHOLE
from fit.heads.base import Classifier, CustomHead, HeadSpec
from fit.heads.classifiers import ArrayClassifier, ArrayEstimator, GroupedClassifier, NetworkClassifier
from fit.heads.parameters import Parameter
from fit.heads.table import CUSTOM_TRAINING, HEADS, HeadKind, is_custom
from store.errors import UsageError

if TYPE_CHECKING:
    import keras


def custom_kind(name: str, custom_head: CustomHead | str | None = None) -> HeadKind:
    """What the table would say about a custom head: its parameters are those of its function.

    Raises:
        UsageError: there is no such function.
    """
    function = custom_head if callable(custom_head) else import_function(name)
    given = [
        Parameter(parameter.name, parameter.default, "of your own function")
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is not parameter.empty and parameter.name != "seed"
    ]
    names = {parameter.name for parameter in given}
    training = tuple(parameter for parameter in CUSTOM_TRAINING if parameter.name not in names)
    return HeadKind(
        name, name, "custom", "a custom head", (*given, *training),
        default_reduction=WHOLE, streams=True, weighted=True, multi_label=True,
    )  # fmt: skip


def import_function(name: str) -> CustomHead:
    """The function `module:function`, from the current folder or what is installed.

    Raises:
        UsageError: there is none.
    """
    module, _, function = name.partition(":")
    try:
        with search_path(""), quiet_libraries():  # it may import Keras
            found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"--head {name}: {error}; expected module:function, the module in the current folder or installed"
        ) from error
    if not callable(found):
        raise UsageError(f"--head {name} is not a function: expected one that takes shape, outputs and seed")
    return found


def source_digest(name: str, custom_head: CustomHead | str | None = None) -> str:
    """SHA-256 of the code of a custom head: the source of the whole module, for the function may call others there.

    Where there is no source, as in some notebooks, it is that of the function's bytecode and constants; empty for heads
    of the table.

    Raises:
        UsageError: there is no such function.
    """
    if not is_custom(name):
        return ""
    function = custom_head if callable(custom_head) else import_function(name)
    for described in (inspect.getmodule(function), function):
        try:
            return hashlib.sha256(inspect.getsource(described).encode()).hexdigest()  # type: ignore[arg-type]
        except (OSError, TypeError):
            continue
    code = getattr(function, "__code__", None)
    return hashlib.sha256(repr((code and code.co_code, code and code.co_consts)).encode()).hexdigest()


def unnamed_function(name: str) -> str:
    """What to say where a custom head is asked for and the function that built it is not named."""
    return (
        f"the head was built by your own function {name}: name it with --head {name}, because a head's folder alone "
        "never names code to run"
    )


def require_custom_head(name: str, custom_head: CustomHead | str | None) -> None:
    """Raise UsageError if a custom head is loaded without naming the function that built it, or with another one."""
    if name not in HEADS and custom_head is None:
        raise UsageError(unnamed_function(name))
    if isinstance(custom_head, str) and custom_head != name:
        raise UsageError(f"--head {custom_head}: this head was built by {name}")


def build_custom_head(spec: HeadSpec) -> Classifier:
    """Call the function; a Keras model is trained as the heads of the table are, an estimator is fitted on arrays.

    Raises:
        UsageError: there is no such function, or it makes something else.
    """
    start_keras()
    import keras

    from fit.heads.sklearn import Calibrated, Logistic

    function = spec.custom_head or import_function(spec.name)
    names = set(inspect.signature(function).parameters)
    given = {name: value for name, value in spec.parameters.items() if name in names}
    made = function(spec.shape, len(spec.task.classes), seed=spec.seed, **given)
    if isinstance(made, keras.Model):
        return _network(made, spec, names)
    if isinstance(made, Logistic | Calibrated):
        return GroupedClassifier(made)
    if isinstance(made, ArrayEstimator):
        return ArrayClassifier(made)
    raise UsageError(
        f"the head {spec.name} made a {type(made).__name__}: expected a Keras model, or a scikit-learn estimator with "
        "fit, predict and predict_proba"
    )


def _network(made: "keras.Model", spec: HeadSpec, names: Set[str]) -> NetworkClassifier:
    """A user's Keras model, trained as `spec` says; `names` are its function's own parameters."""
    from fit.heads.keras import CustomNetwork

    training = {parameter.name for parameter in CUSTOM_TRAINING} - names
    settings: dict[str, Any] = {name: value for name, value in spec.parameters.items() if name in training}
    network = CustomNetwork(
        made=made, class_weight=spec.balanced, random_state=spec.seed, tensorboard=spec.tensorboard, **settings
    )
    return NetworkClassifier(network)
