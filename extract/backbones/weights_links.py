"""HDF5 files with weights hold what they are read for themselves: what would read another file is refused."""

from pathlib import Path

import h5py

from store.errors import UsageError


def refuse_links(file: h5py.File, path: Path) -> None:
    """Raise UsageError if a file has links or datasets that can read any file of the machine (CVE-2026-1669)."""

    def problem(name: str, link: object) -> str | None:  # h5py stops at the first text and returns it
        if not isinstance(link, h5py.HardLink):
            return f"holds a link at {name}, which is never followed"
        item = file[name]
        if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
            return f"keeps {name} outside the file, which is never read"
        return None

    found = file.visititems_links(problem)
    if found:
        raise UsageError(f"--weights {path} {found}: use a plain weights file")
