"""What a run came to, or would come to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from extract.planning import Changes
from store.errors import TooManyFailures
from store.recipe import Output

_PROMISED = [
    "store",
    "fingerprint",
    "images",
    "rows",
    "failures",
    "pending",
    "computed",
    "reused",
    "seconds",
    "images_per_second",
    "phases",
    "limited_by",
]


@dataclass(frozen=True)
class RunResult:
    """What a run came to. `images` = `rows` + `failures` + `pending`; nothing is pending but what other parts do.

    `computed` counts images of this run, failures included; `reused` those that were there before.
    `images_per_second` is computed over the seconds from the first read to the last commit. `phases` are the seconds
    that the run waited for each, `verdict` says what would make it faster.
    """

    store: str
    fingerprint: str
    images: int
    rows: int
    failures: int
    pending: int
    computed: int
    reused: int
    seconds: float
    images_per_second: float
    phases: Mapping[str, float]
    limited_by: str
    verdict: str
    changes: Changes
    failures_by_code: Mapping[str, int]
    others: int

    def to_dict(self) -> dict[str, Any]:
        """The keys that `extract run --json` promises."""
        return {name: value for name, value in asdict(self).items() if name in _PROMISED}


@dataclass(frozen=True)
class Trial:
    """What a few `images` of a run, computed, tell of the whole: rate, seconds, compressed bytes, memory at its peak."""

    images: int = 0
    images_per_second: float = 0.0
    seconds: float = 0.0
    disk_bytes: int = 0
    peak_memory_bytes: int = 0
    verdict: str = ""


@dataclass(frozen=True)
class DryRun:
    """What a run would do: `feature_bytes` are those to come, before compression, `shards` those to compute."""

    store: str
    images: int
    to_compute: int
    shards: int
    changes: Changes
    outputs: tuple[Output, ...]
    shard_format: str
    feature_bytes: int
    trial: Trial

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "outputs": [output.to_dict() for output in self.outputs]}


def require_few_failures(result: RunResult, max_bad: float) -> None:
    """Raise TooManyFailures if more than that fraction of the images failed."""
    done = result.images - result.pending
    if result.failures > max_bad * done:
        raise TooManyFailures(
            f"{result.failures:,} of {done:,} images failed, more than --max-bad {max_bad:g} allows; "
            f"the others are stored; `store failures {result.store}` lists them"
        )
