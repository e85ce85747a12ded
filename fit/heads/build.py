"""From the description of a head to a classifier, ready to be fitted."""

import importlib
from collections.abc import Callable
from typing import Any

from extract.api import start_keras
from fit.heads.base import Classifier, CustomHead, HeadSpec
from fit.heads.classifiers import (
    ArrayClassifier,
    ArrayRegressor,
    BatchClassifier,
    GroupedBatchClassifier,
    GroupedClassifier,
    GroupedRegressor,
    NetworkClassifier,
)
from fit.heads.custom import build_custom_head, custom_kind
from fit.heads.table import HeadKind, get_head, is_custom
from store.errors import UsageError


def find_kind(name: str, custom_head: CustomHead | str | None = None) -> HeadKind:
    """The head of that name; for `module:function`, what its function's signature says.

    Raises:
        UsageError: there is none.
    """
    return custom_kind(name, custom_head) if is_custom(name) else get_head(name)


def build_classifier(spec: HeadSpec) -> Classifier:
    """An unfitted head.

    Raises:
        UsageError: the parameters are not possible, or there is no such head.
    """
    if is_custom(spec.name):
        return build_custom_head(spec)
    kind = get_head(spec.name)
    return _build_network(kind, spec) if kind.library == "keras" else _build_estimator(kind, spec)


def rebuild_network(spec: HeadSpec) -> NetworkClassifier:
    """A head that Keras fits, with its model built, to be filled with the weights that were saved.

    Raises:
        UsageError: the head is not one that Keras fits.
    """
    classifier = build_classifier(spec)
    if not isinstance(classifier, NetworkClassifier):
        raise UsageError(f"the head {spec.name} is not a network")
    classifier.network.start(spec.shape, len(spec.task.classes), spec.task.multi_label)
    return classifier


def _build_network(kind: HeadKind, spec: HeadSpec) -> NetworkClassifier:
    start_keras()
    arguments = {**_arguments(kind, spec), "tensorboard": spec.tensorboard}
    if kind.continues:
        arguments["origin"] = spec.origin
    return NetworkClassifier(_builder(kind, spec)(**arguments))


def _build_estimator(kind: HeadKind, spec: HeadSpec) -> Classifier:
    estimator = _builder(kind, spec)(**_arguments(kind, spec))
    if kind.scales and spec.blocks:
        estimator.blocks = spec.blocks
    if kind.one_per_label and spec.task.multi_label:
        from fit.heads.labels import OnePerLabel

        estimator = OnePerLabel(estimator)
    if spec.task.regression:
        return GroupedRegressor(estimator) if kind.takes_groups else ArrayRegressor(estimator)
    if kind.streams and kind.takes_groups:
        return GroupedBatchClassifier(estimator)
    if kind.streams:
        return BatchClassifier(estimator)
    if kind.takes_groups:
        return GroupedClassifier(estimator)
    return ArrayClassifier(estimator)


def _arguments(kind: HeadKind, spec: HeadSpec) -> dict[str, object]:
    arguments: dict[str, object] = {**spec.parameters, "random_state": spec.seed}
    if kind.weighted and not spec.task.regression:
        arguments["class_weight"] = spec.balanced
    return arguments


def _builder(kind: HeadKind, spec: HeadSpec) -> Callable[..., Any]:
    """The function or class that the table names."""
    module, _, name = (kind.regression if spec.task.regression else kind.build).partition(":")
    builder: Callable[..., Any] = getattr(importlib.import_module(f"fit.heads.{module}"), name)
    return builder
