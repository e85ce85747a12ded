"""seen.json: how often the test images of a split were evaluated, by a head and by the heads beside it.

Each look at a test set that is followed by a choice makes its numbers more optimistic. The file is in the head's folder
and names the test set by the contents of its images, so that heads of the same split in one folder are found together.
A head that replaces another one keeps its looks.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from store.files.local import write_whole
from store.json_values import as_list, as_object, parse
from store.schema import InvalidField, read_fields

SEEN = "seen.json"
_FORMAT, _VERSION = "stillframe-seen", 1
_MOST_BYTES = 2**24
_MOST_FOLDERS = 10_000  # that are looked into beside a head


@dataclass(frozen=True)
class Look:
    """One evaluation on test images.

    Attributes:
        time: when, in UTC.
        by: the command: fit head, fit sweep or fit evaluate.
        images: how many test images were evaluated.
    """

    time: str
    by: str
    images: int


def look_now(by: str, images: int) -> Look:
    """A look at this moment."""
    return Look(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), by, images)


def read_looks(folder: Path, test_digest: str) -> tuple[Look, ...]:
    """The looks at that test set that a head's folder has; none if its file is missing, damaged or of another set."""
    try:
        values = parse((folder / SEEN).read_bytes(), _MOST_BYTES)
        if values.get("format") != _FORMAT or values.get("test_digest") != test_digest:
            return ()
        return tuple(read_fields(Look, as_object(look, "look")) for look in as_list(values.get("looks"), "looks"))
    except (OSError, ValueError, InvalidField):
        return ()


def write_looks(folder: Path, test_digest: str, looks: Sequence[Look]) -> None:
    """Write a head's looks, whole or not at all.

    Raises:
        EnvironmentFailure: it cannot be written.
    """
    values: Mapping[str, object] = {
        "format": _FORMAT,
        "version": _VERSION,
        "test_digest": test_digest,
        "looks": [asdict(look) for look in looks],
    }
    write_whole(folder / SEEN, (json.dumps(values, indent=1) + "\n").encode())


def looks_beside(folder: Path, test_digest: str) -> int:
    """How often the heads in the folders beside this one were evaluated on that test set."""
    try:
        folders = [other for other in sorted(folder.resolve().parent.iterdir())[:_MOST_FOLDERS] if other.is_dir()]
    except OSError:
        return 0
    own = folder.resolve()
    return sum(len(read_looks(other, test_digest)) for other in folders if other != own)


def describe_looks(own: int, beside: int) -> str:
    """A sentence on how often the test images were evaluated."""
    times = "once" if own + beside == 1 else f"{own + beside:,} times"
    sentence = f"the test images have been evaluated {times}"
    if beside:
        sentence += f", {beside:,} of them by heads beside this one"
    if own + beside > 1:
        sentence += ": choosing by these numbers makes them optimistic"
    return sentence
