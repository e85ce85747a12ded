"""The words of commands that messages and pages suggest, so that these run as printed."""

import os
from collections.abc import Sequence
from pathlib import Path

from fit.head_info import HeadInfo
from fit.heads.table import is_custom
from store.files.names import file_path


def option_words(option: str, value: str | os.PathLike[str] | None) -> list[str]:
    """An option with its value, if it has one."""
    return [] if value is None else [option, os.fspath(value)]


def store_words(stores: Sequence[str]) -> list[str]:
    """`--features STORE` for each."""
    return [word for store in stores for word in ("--features", store)]


def load_words(head: str) -> list[str]:
    """What a command needs that loads a head of this name: a custom head's function has to be named each time."""
    return ["--head", head] if is_custom(head) else []


def evaluate_test_words(
    folder: Path, head: str, stores: Sequence[str], labels: str | os.PathLike[str] | None
) -> list[str]:
    """A command that evaluates a head on its test images, with the labels that it was fitted on."""
    words = ["fit", "evaluate", str(folder), *store_words(stores), *option_words("--labels", labels)]
    return [*words, "--split", "test", *load_words(head)]


def noted_stores(info: HeadInfo) -> list[str]:
    """Where the stores of a head were; STORE, which is to be replaced, where an older head did not note it."""
    return [file_path(store) if store else "STORE" for store in dict.fromkeys(block.store for block in info.blocks)]
