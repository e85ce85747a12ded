"""Pictures of a head, a comparison and a sweep."""

import logging

from extract.api import logger_levels

# Imported before anything else here imports matplotlib: users need no message that it builds its font cache.
with logger_levels(logging.ERROR, "matplotlib"):
    import matplotlib.font_manager  # noqa: F401
