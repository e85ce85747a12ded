"""From a head's name and parameters to an estimator, ready to be fitted."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from extract.process_state import quiet_start
from extract.runtimes import start_keras
from fit.heads.table import HEADS, OWN_TRAINING, HeadKind, Parameter, Value, get_head
from store.errors import UsageError
from store.recipe import Output, Recipe

Own = Callable[..., Any]
"""A user's function: (shape, outputs, seed, **parameters) -> a Keras model of probabilities, or an estimator."""


@dataclass(frozen=True)
class Origin:
    """Where features come from, for heads that go on from there; `weights` as in `fit.head.HeadInfo`."""

    recipe: Recipe
    output: Output
    weights: str


def find_kind(name: str, own: Own | str | None = None) -> HeadKind:
    """The head of that name; of `module:function`, what its function's signature says.

    Raises:
        UsageError: there is none.
    """
    if ":" not in name:
        return get_head(name)
    function = own if callable(own) else import_function(name)
    given = [
        Parameter(parameter.name, parameter.default, "of your own function")
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is not parameter.empty and parameter.name != "seed"
    ]
    names = {parameter.name for parameter in given}
    training = tuple(parameter for parameter in OWN_TRAINING if parameter.name not in names)
    return HeadKind(
        name, name, "own", "a head of your own", (*given, *training), streams=True, weighted=True, several=True
    )


def import_function(name: str) -> Own:
    """The function `module:function`, from the current folder or what is installed.

    Raises:
        UsageError: there is none.
    """
    module, _, function = name.partition(":")
    sys.path.insert(0, "")
    try:
        with quiet_start():  # it may import Keras
            found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"--head {name}: {error}; expected module:function, the module in the current folder or installed"
        ) from error
    finally:
        sys.path.remove("")
    if not callable(found):
        raise UsageError(f"--head {name} is no function: expected one that takes shape, outputs and seed")
    return found


def require_own(name: str, own: Own | str | None) -> None:
    """Raise UsageError if a head of one's own is loaded without saying which function built it, or another one."""
    if name not in HEADS and own is None:
        raise UsageError(
            f"the head was built by your own function {name}: say so with --head {name}, "
            "for a head's folder alone never names code to run"
        )
    if isinstance(own, str) and own != name:
        raise UsageError(f"--head {own}: this head was built by {name}")


def build_estimator(
    name: str,
    parameters: Mapping[str, Value],
    shape: tuple[int, ...],
    outputs: int,
    class_weight: str,
    seed: int,
    several: bool,
    own: Own | str | None = None,
    origin: Origin | None = None,
) -> Any:
    """An unfitted estimator.

    Args:
        name: of the table, or module:function.
        parameters: all of its parameters.
        shape: of one row.
        outputs: how many classes.
        class_weight: none or balanced.
        seed: of all that is random.
        several: whether rows may have several labels.
        own: the function of a head of one's own, if it is not to be imported.
        origin: where the features come from; heads that go on from there need it.

    Raises:
        UsageError: the parameters cannot be.
    """
    kind = find_kind(name, own)
    weight = None if class_weight == "none" else class_weight
    if kind.library == "own":
        function = own if callable(own) else import_function(name)
        return _own_estimator(function, parameters, shape, outputs, weight, seed)
    if kind.library == "keras":
        start_keras()
    module, _, builder = kind.build.partition(":")
    arguments: dict[str, Any] = {**parameters, "random_state": seed}
    if kind.weighted:
        arguments["class_weight"] = weight
    if kind.continues:
        arguments["origin"] = origin
    estimator = getattr(importlib.import_module(f"fit.heads.{module}"), builder)(**arguments)
    if several and kind.library == "scikit-learn":
        from fit.heads.sklearn import one_per_label

        return one_per_label(estimator)
    return estimator


def _own_estimator(
    function: Own, parameters: Mapping[str, Value], shape: tuple[int, ...], outputs: int, weight: str | None, seed: int
) -> Any:
    start_keras()
    training = {parameter.name for parameter in OWN_TRAINING}
    own_names = set(inspect.signature(function).parameters)
    made = function(
        shape, outputs, seed=seed, **{name: value for name, value in parameters.items() if name in own_names}
    )
    if hasattr(made, "predict_proba") and hasattr(made, "fit"):
        return made
    from fit.heads.keras import Own as OwnNetwork

    settings: dict[str, Any] = {name: value for name, value in parameters.items() if name in training - own_names}
    return OwnNetwork(made=made, class_weight=weight, random_state=seed, **settings)


def rebuild_network(estimator: Any, shape: tuple[int, ...], outputs: int, several: bool) -> None:
    """Give an unfitted network its model, to be filled with saved weights."""
    estimator.start(shape, outputs, several)
