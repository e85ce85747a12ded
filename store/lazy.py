"""Names of a package that are imported on first use (PEP 562), so that a command's --help waits for no library."""

import importlib
from collections.abc import Callable, Mapping, Sequence


def exporting(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """The `__getattr__` of a package whose names are defined in other modules.

    Args:
        package: its name.
        modules: the names that each module defines.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return load
