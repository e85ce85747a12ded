"""The Typer app of `fit`, and the options that several of its commands have."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fit.common_options import ABSTAINS
from fit.heads.parameters import Value
from fit.options import Shortcuts, parse_settings
from store.command_line import Console, new_app
from store.errors import UsageError
from store.options import Argument, Option
from store.tables import columns, paragraph, terminal_width

if TYPE_CHECKING:
    from store.reader import FeatureStore

app = new_app("Fit small heads on the features of a store, and use them on images.")


@dataclass(frozen=True)
class StorePlace:
    """The option that names a store."""

    features: Annotated[str, Option("The store.", ("--features", "-f"))]


@dataclass(frozen=True)
class StorePlaces:
    """The option that names the stores of a fit."""

    features: Annotated[
        tuple[str, ...],
        Option("The store; repeat it to join stores of the same images by other recipes.", ("--features", "-f")),
    ] = ()

    def __post_init__(self) -> None:
        if not self.features:
            raise UsageError("name the store: --features STORE")

    def open(self) -> "list[FeatureStore]":
        """All of them."""
        from store.reader import open_store

        return [open_store(place) for place in self.features]


@dataclass(frozen=True)
class RecipeStores(StorePlaces):
    """The option that names the stores of an evaluation."""

    features: Annotated[
        tuple[str, ...], Option("A store of the same recipe; one for each recipe of the head.", ("--features", "-f"))
    ] = ()


@dataclass(frozen=True)
class HeadPlace:
    """The argument that names a head."""

    folder: Annotated[Path, Argument("HEAD", "The folder that `fit head` wrote.")]


@dataclass(frozen=True)
class LoadOptions:
    """Options that loading some heads needs."""

    custom: Annotated[str | None, Option("module:function, for a custom head.", ("--head",))] = None


@dataclass(frozen=True)
class AbstainOption:
    """The option that says where a head predicts nothing."""

    abstain: Annotated[float | None, Option(ABSTAINS, default="the head's own")] = None


@dataclass(frozen=True)
class WeightsOption:
    """The option that names the backbone's weights."""

    weights: Annotated[
        tuple[str, ...],
        Option(
            "Where the backbone's weights are, if no longer where they were; repeat it for each recipe of the head."
        ),
    ] = ()


@dataclass(frozen=True)
class ParameterOptions(Shortcuts):
    """The head's own parameters."""

    settings: Annotated[tuple[str, ...], Option("key=value, a parameter of the head; repeatable.", ("--set",))] = ()

    def given(self) -> dict[str, Value]:
        """The parameters that were given, by options of their own and by --set."""
        return {**super().given(), **parse_settings(self.settings)}


@dataclass(frozen=True)
class TableOptions:
    """The option that prints all scores."""

    everything: Annotated[bool, Option("Print all metrics; without it, the main ones.", ("--all",))] = False


def print_metrics(metrics: Mapping[str, object], options: TableOptions, console: Console, asked: bool = False) -> None:
    """Print the scores of the evaluations, and the confusion matrix if there is one for them.

    Args:
        metrics: of an evaluation or of all of a head.
        options: which metrics.
        console: prints them.
        asked: whether they are what the command is for: then the scores are printed with --quiet too.
    """
    from fit.text import format_by, format_confusion, format_metrics, format_remarks

    show = console.output if asked else console.summary
    show(*columns(format_metrics(metrics, options.everything)))
    remarks = format_remarks(metrics, options.everything)
    if remarks:
        console.summary("", *(line for remark in remarks for line in paragraph(remark)))
    by = metrics.get("by")
    if isinstance(by, Mapping):
        show("", *columns(format_by(by)))
    if "confusion" in metrics:
        console.summary("", *columns(format_confusion(metrics, terminal_width())))
