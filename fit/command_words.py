"""The words of commands that messages and pages suggest, so that these run as printed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fit.head_info import HeadInfo
from fit.heads.table import is_custom
from store.files.names import file_path


class ImageTables(Protocol):
    """Options of a fit or an audit: a table of labels, and one of images to leave out."""

    @property
    def labels(self) -> str | os.PathLike[str] | None:
        """See `fit.common_options.LabelsFile`."""

    @property
    def exclude_from(self) -> str | os.PathLike[str] | None:
        """See `fit.common_options.ExcludedFile`."""


def option_words(option: str, value: str | os.PathLike[str] | None) -> list[str]:
    """An option with its value, if it has one."""
    return [] if value is None else [option, os.fspath(value)]


def store_words(stores: Sequence[str]) -> list[str]:
    """`--features STORE` for each."""
    return [word for store in stores for word in ("--features", store)]


def load_words(head: str) -> list[str]:
    """What a command needs that loads a head of this name: a custom head's function has to be named each time."""
    return ["--head", head] if is_custom(head) else []


def table_words(options: ImageTables | None) -> list[str]:
    """The options that name tables, where they were given; None for heads of 0.5.0, which did not note them."""
    if options is None:
        return []
    return [*option_words("--labels", options.labels), *option_words("--exclude-from", options.exclude_from)]


def evaluate_test_words(folder: Path, head: str, stores: Sequence[str], fit: ImageTables | None) -> list[str]:
    """A command that evaluates a head on the test images of its fit, with the labels of that."""
    words = ["fit", "evaluate", str(folder), *store_words(stores), *table_words(fit)]
    return [*words, "--split", "test", *load_words(head)]


def noted_stores(info: HeadInfo) -> list[str]:
    """Where the stores of a head were; STORE, which is to be replaced, where an older head did not note it."""
    return [file_path(store) if store else "STORE" for store in dict.fromkeys(block.store for block in info.blocks)]
