"""What a terminal shows of a learning curve: rows of cells, and sentences."""

from collections.abc import Sequence

from fit.curve.estimates import MEASURES
from fit.curve.run import Curve, CurveStep
from fit.metrics.format import format_interval, format_values
from fit.metrics.intervals import Interval


def format_curve(curve: Curve) -> list[list[str]]:
    """One line per size of the training set, with 95 % intervals, and how the main metric differs from the size before."""
    main = curve.metrics[0]
    rows = [["images", *map(_words, curve.metrics), _change_of(main)]]
    for point, step in zip(curve.points, [None, *curve.steps], strict=True):
        cells = [format_interval(name, score.to_dict()) for name, score in point.scores.items()]
        rows.append([f"{point.images:,}", *cells, "" if step is None else _format_change(main, step)])
    return rows


def describe_curve(curve: Curve) -> list[str]:
    """What the last step gave and how certain that is, and why there are numbers without an interval."""
    last, main = curve.steps[-1], curve.metrics[0]
    conclude = _conclude_gain if main == "accuracy" else _conclude_error
    return [f"{_describe_step(last)}: {conclude(last.changes[main])}", *_reasons(curve)]


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _change_of(metric: str) -> str:
    return f"{_words(metric)} {MEASURES[metric].changed}"


def _format_change(metric: str, step: CurveStep) -> str:
    return format_interval(metric, step.changes[metric].to_dict(), "+")


def _describe_step(step: CurveStep) -> str:
    changes = [
        _describe_points(change) if name == "accuracy" else f"{_words(name)} {_format_change(name, step)}"
        for name, change in step.changes.items()
    ]
    return f"from {step.before:,} to {step.after:,} images: {', '.join(changes)}"


def _describe_points(gained: Interval) -> str:
    value, low, high = gained.value or 0.0, gained.low, gained.high
    bounds = "" if low is None or high is None else f" ({100 * low:+.1f}..{100 * high:+.1f})"
    return f"accuracy {100 * value:+.1f} points{bounds}"


_UNCERTAIN = "there is no interval, so it may be chance"
_HELPED = "twice the images helped; more would probably help too, though as a rule less with each doubling"
_UNKNOWN = "these validation images do not show whether more training images help; at best, twice the images gave"


def _conclude_gain(gained: Interval) -> str:
    if gained.low is None or gained.high is None:
        return _UNCERTAIN
    if gained.low > 0:
        return _HELPED
    if gained.high < 0:
        return "the accuracy fell: look for wrong labels, or images unlike those of validation, with `fit audit`"
    return f"{_UNKNOWN} {100 * gained.high:.1f} points"


def _conclude_error(changed: Interval) -> str:
    if changed.low is None or changed.high is None:
        return _UNCERTAIN
    if changed.high < 0:
        return _HELPED
    if changed.low > 0:
        return "the error rose: look for wrong labels, or images unlike those of validation"
    (gained,) = format_values("mean_absolute_error", [-changed.low])
    return f"{_UNKNOWN} an error smaller by {gained}"


def _reasons(curve: Curve) -> Sequence[str]:
    """Each reason once."""
    main = curve.metrics[0]
    named = [(_words(name), point.scores[name]) for name in curve.metrics for point in curve.points]
    named += [(_change_of(main), step.changes[main]) for step in curve.steps]
    return list(dict.fromkeys(f"{name}: {score.reason}" for name, score in named if score.reason))
