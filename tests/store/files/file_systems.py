"""File systems that can do less than others."""

import errno
import os

import store.files.disk


def take_away(steps, replace=setattr):
    """Let the steps named in `steps` fail as they do on file systems that have none."""

    def refuse(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if "link" in steps:
        replace(os, "link", refuse)
    if "rename" in steps:
        replace(store.files.disk, "rename_to_free_name", refuse)
