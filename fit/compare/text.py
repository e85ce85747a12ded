"""A comparison as rows of cells for a terminal."""

from collections.abc import Sequence

from fit.compare.costs import differing
from fit.compare.errors import ErrorComparison
from fit.compare.heads import Comparison
from fit.compare.numbers import common_parent, format_bytes, format_milliseconds, format_p
from fit.metrics.regression import RegressionScores
from fit.metrics.scores import Scores
from fit.splits import VALIDATION
from fit.text import format_interval, format_signed
from store.files.names import printable


def format_comparison(comparison: Comparison, everything: bool = False) -> list[list[str]]:
    """One line per head, the best marked: accuracy, log loss and costs, and what they differ in; or everything."""
    heads = comparison.heads
    by_folds = any(head.folds for head in heads)
    features = list(heads[0].features) if everything else differing([head.features for head in heads])
    chosen_by, parent = comparison.chosen_by, common_parent([head.name for head in heads])
    rows = [
        [
            f"in {printable(parent)}" if parent else "",
            f"{chosen_by} accuracy",
            "test accuracy",
            "test - best's",
            "p",
            "right alone",
            "on images",
            "test log loss",
            *(["cv - best's", "cv p"] if by_folds else []),
            *_COSTS,
            *features,
            *([f"{VALIDATION} log loss", "images", "head"] if everything else []),
        ]
    ]
    for number, head in enumerate(heads):
        cells = [
            printable(head.name.removeprefix(parent)) + (" *" if number == comparison.best else ""),
            _format_score(head.scores(chosen_by), "accuracy"),
            _format_score(head.test, "accuracy"),
            "-" if head.difference is None else format_signed(head.difference),
            format_p(head.p_value),
            f"{head.paired.first_only:,} : {head.paired.second_only:,}" if head.paired else "-",
            f"{head.shared:,}",
            _format_score(head.test, "log_loss"),
        ]
        if by_folds:
            cells += [format_signed(head.folds.difference) if head.folds else "-", format_p(head.folds_p_value)]
        cells += [
            format_milliseconds(head.costs.seconds_per_image),
            format_bytes(head.costs.bytes_per_image),
            f"{head.costs.fit_seconds:.1f}",
            "yes" if number in comparison.front else "-",
        ]
        cells += [printable(head.features[name]) for name in features]
        others = [_format_score(head.validation, "log_loss"), f"{head.images:,}", printable(head.head)]
        rows.append([*cells, *others] if everything else cells)
    return rows


def format_errors(comparison: ErrorComparison) -> list[list[str]]:
    """One line per head that predicts numbers, the best marked."""
    parent = common_parent([head.name for head in comparison.heads])
    rows = [["mean absolute error", "validation", "test", "test - best's", "p", "on images", "test r2"]]
    for number, head in enumerate(comparison.heads):
        rows.append(
            [
                printable(head.name.removeprefix(parent)) + (" *" if number == comparison.best else ""),
                _format_score(head.validation, "mean_absolute_error"),
                _format_score(head.test, "mean_absolute_error"),
                "-" if head.difference is None else format_signed(head.difference),
                format_p(head.p_value),
                f"{head.shared:,}",
                _format_score(head.test, "r2"),
            ]
        )
    return rows


_COSTS = ("ms/image", "bytes/image", "fit, s", "Pareto front")


def format_refused(refused: Sequence[tuple[str, str]]) -> list[list[str]]:
    """One line per head that could not be fitted, and why."""
    return [[printable(name), f"refused: {printable(reason)}"] for name, reason in refused]


def _format_score(scores: Scores | RegressionScores | None, metric: str) -> str:
    return format_interval(scores.metric(metric).to_dict()) if scores is not None else "-"
