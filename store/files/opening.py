"""The files at a path or URL: the one place that chooses between a disk and an object store."""

import os

from store.files.base import Files
from store.files.local import LocalFiles
from store.files.names import is_url


def open_files(place: str | os.PathLike[str], single_writer: bool = False) -> Files:
    """The files below a folder.

    Args:
        place: a path, or a URL that fsspec knows, such as `s3://bucket/store`.
        single_writer: of an object store: nobody else writes there, the caller knows.

    Raises:
        UsageError: a URL of an unknown kind.
    """
    if is_url(place):
        from store.files.remote import RemoteFiles  # loads fsspec

        return RemoteFiles(os.fspath(place), single_writer)
    return LocalFiles(place)
