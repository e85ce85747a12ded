"""Times as people and schedulers write them."""

import re

from store.errors import UsageError

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")
_CLOCK = re.compile(r"([0-9]+):([0-5][0-9]):([0-5][0-9])")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Seconds from `90`, `90s`, `30m`, `8h`, `2d` or, as SLURM writes it, `7:30:00`.

    Raises:
        UsageError: it is not one of these, or not above 0.
    """
    seconds = 0.0
    if match := _CLOCK.fullmatch(text):
        seconds = 3600.0 * int(match[1]) + 60 * int(match[2]) + int(match[3])
    elif match := _DURATION.fullmatch(text):
        seconds = float(match[1]) * _UNITS[match[2]]
    if seconds <= 0:
        raise UsageError(f"--max-runtime is {text!r}: expected a time above 0 such as 90s, 30m, 8h, 2d or 7:30:00")
    return seconds
