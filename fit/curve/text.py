"""What a terminal shows of a learning curve: rows of cells, and sentences."""

from collections.abc import Sequence

from fit.curve.run import Curve, CurveStep
from fit.metrics.intervals import Interval
from fit.text import format_interval, format_signed


def format_curve(curve: Curve) -> list[list[str]]:
    """One line per size of the training set, with 95 % intervals, and what is gained from the size before."""
    rows = [["images", "accuracy", "log loss", "accuracy gained"]]
    for point, step in zip(curve.points, [None, *curve.steps], strict=True):
        cells = [format_interval(score.to_dict()) for score in (point.accuracy, point.log_loss)]
        rows.append([f"{point.images:,}", *cells, "" if step is None else format_signed(step.accuracy)])
    return rows


def describe_curve(curve: Curve) -> list[str]:
    """What the last step gave and how certain that is, and why there are numbers without an interval."""
    last = curve.steps[-1]
    return [f"{_describe_step(last)}: {_conclude(last.accuracy)}", *_reasons(curve)]


def _describe_step(step: CurveStep) -> str:
    value, low, high = step.accuracy.value or 0.0, step.accuracy.low, step.accuracy.high
    bounds = "" if low is None or high is None else f" ({100 * low:+.1f}..{100 * high:+.1f})"
    return (
        f"from {step.before:,} to {step.after:,} images: accuracy {100 * value:+.1f} points{bounds}, "
        f"log loss {format_signed(step.log_loss)}"
    )


def _conclude(gained: Interval) -> str:
    if gained.low is None or gained.high is None:
        return "there is no interval, so it may be chance"
    if gained.low > 0:
        return "twice the images helped; more would probably help too, though as a rule less with each doubling"
    if gained.high < 0:
        return "the accuracy fell: look for wrong labels, or images unlike those of validation, with `fit audit`"
    return (
        "these validation images do not show whether more training images help; "
        f"at best, twice the images gave {100 * gained.high:.1f} points"
    )


def _reasons(curve: Curve) -> Sequence[str]:
    """Each reason once."""
    named = [("accuracy", point.accuracy) for point in curve.points]
    named += [("log loss", point.log_loss) for point in curve.points]
    named += [("accuracy gained", step.accuracy) for step in curve.steps]
    return list(dict.fromkeys(f"{name}: {score.reason}" for name, score in named if score.reason))
