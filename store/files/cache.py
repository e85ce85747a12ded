"""The cache folder: files that may be deleted at any time, for they can be made or downloaded again."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Our own cache: STILLFRAME_CACHE, else the platform's."""
    return Path(os.environ.get("STILLFRAME_CACHE") or platformdirs.user_cache_path("stillframe"))
