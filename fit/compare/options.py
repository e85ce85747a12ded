"""The options of a comparison, checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from store.errors import UsageError
from store.options import Argument, Option

DEFAULT_OUT = Path("comparison")


@dataclass(frozen=True)
class ComparisonOptions:
    """Which heads are compared: those in folders, or each kind of `heads` fitted on each store of `stores`.

    Raises:
        UsageError: both, neither, or one of several twice.
    """

    folders: Annotated[tuple[Path, ...], Argument("HEAD HEAD…", "Folders that `fit head` wrote.")] = ()
    heads: Annotated[
        str | None,
        Option("Instead of folders: fit these heads, joined by commas, on each store.", ("--heads",), metavar="H1,H2"),
    ] = None
    stores: Annotated[
        tuple[str, ...],
        Option("A store for --heads; repeatable. Of several outputs, each is taken.", ("--features", "-f")),
    ] = ()
    out: Annotated[
        Path | None,
        Option(
            "A folder for compare.html (of numbers compare.png), compare.json and the heads of --heads; or a .png file.",
            ("--out", "-o"),
            default=f"{DEFAULT_OUT} with --heads",
        ),
    ] = None

    def __post_init__(self) -> None:
        if (self.heads is None) != (not self.stores):
            raise UsageError("--heads and --features go together: the heads to fit, and the stores to fit them on")
        if bool(self.folders) == bool(self.stores):
            raise UsageError("name either the folders of heads, or --heads HEAD,HEAD --features STORE")
        if self.stores and self.chart is not None:
            raise UsageError(f"--out {self.out}: with --heads, expected a folder, which the heads are kept in")
        for what, given in (("--heads", self.kinds), ("--features", self.stores)):
            if len(set(given)) < len(given):
                raise UsageError(f"{what} has {max(given, key=given.count)} twice: name each once")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The heads to fit."""
        return tuple(name.strip() for name in (self.heads or "").split(",") if name.strip())

    @property
    def folder(self) -> Path | None:
        """Where the page goes; None if none is asked for."""
        if self.out is not None:
            return None if self.chart else self.out
        return DEFAULT_OUT if self.stores else None

    @property
    def chart(self) -> Path | None:
        """The .png file to draw, if one is asked for."""
        return self.out if self.out is not None and self.out.suffix.lower() == ".png" else None
