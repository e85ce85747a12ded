"""What limits a comparison, in sentences that those of classes and of numbers share. Pure."""

from collections.abc import Sequence

from fit.metrics.intervals import Interval
from store.files.names import printable


def without_test(names: Sequence[str]) -> list[str]:
    """A note that names the heads without a test."""
    listed = ", ".join(map(printable, names))
    return [f"without a test, which `fit evaluate HEAD --features STORE --split test` gives: {listed}"] if names else []


def on_differences(differences: Sequence[Interval], meaning: str) -> list[str]:
    """What the differences from the best head and their p-values mean, and why some have no interval.

    Args:
        differences: of each head that is compared with the best.
        meaning: what a difference is.
    """
    if not differences:
        return []
    corrected = f", corrected for {len(differences)} comparisons (Holm)" if len(differences) > 1 else ""
    reasons = dict.fromkeys(difference.reason for difference in differences if difference.reason)
    return [
        f"{meaning}, and p is how often a difference as large would come about if both heads were equally good{corrected}",
        *(f"no interval: {reason}" for reason in reasons),
    ]
