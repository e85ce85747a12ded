"""The page and the model card of a head that predicts numbers: what has a meaning without classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fit.evaluated import EvaluatedNumbers, evaluated_numbers
from fit.head_folder import Results
from fit.metrics.format import format_values
from fit.metrics.regression import RegressionScores
from fit.page.card import render_card
from fit.page.charts import HEIGHT, WIDTH, LineChart, kept_epoch, kept_note, training_charts
from fit.page.content import Number, ScoreTable, Snippet
from fit.page.numbers import USES, number, score_table, value_alone
from fit.page.render import content_policy, page_templates, resource
from fit.page.run import command_blocks, recipe_facts, version_facts
from fit.page.sources import EVALUATIONS, choices_of, monitor_of, unseen_note
from store.files.names import printable

SHOWN_ERRORS = 24
MOST_POINTS = 2000


@dataclass(frozen=True)
class Point:
    """An image on the chart: its actual number across, its predicted one up, and both in words."""

    x: float
    y: float
    says: str


@dataclass(frozen=True)
class LargeError:
    """An image and how far its prediction is from its number."""

    path: str
    actual: str
    predicted: str
    error: str


@dataclass(frozen=True)
class RegressionContent:
    """Everything on the page; see `fit.page.content.Content` for what has the same name there.

    Attributes:
        error: the mean absolute error of the images that the head is reported by.
        baseline: that of always predicting the median of the training images.
        explained: R2.
        points: the images, at most MOST_POINTS of them, evenly by their numbers.
        low: the least number of the chart's axes.
        high: the largest one.
        errors: the largest ones first.
        by: the name of a column, and the error of each of its values; None without one.
    """

    title: str
    place: str
    of: str
    chosen_on: str
    error: Number
    baseline: Number
    explained: Number
    scores: ScoreTable
    points: Sequence[Point]
    low: str
    high: str
    errors: Sequence[LargeError]
    by: tuple[str, Sequence[tuple[str, int, Number]]] | None
    training: Sequence[LineChart]
    kept: str
    rows: Mapping[str, int]
    recipe: Mapping[str, str]
    versions: Mapping[str, str]
    blocks: Sequence[Snippet]
    notes: Sequence[str]


def regression_content(results: Results) -> RegressionContent:
    """What the folder of a head that predicts numbers says."""
    info, metrics = results.info, results.metrics
    reported, history = metrics["reported"], metrics.get("history")
    evaluated = evaluated_numbers(results, reported)
    scores = RegressionScores.from_dict(metrics[reported]) if metrics.get(reported) else evaluated.score()
    every = np.concatenate([evaluated.targets, evaluated.predicted])
    monitor = monitor_of(info)
    return RegressionContent(
        title=printable(f"{info.head} on {info.backbone}"),
        place=printable(str(results.folder)),
        of=f"{len(evaluated):,} {EVALUATIONS[reported]}",
        chosen_on=USES[reported],
        error=number("mean_absolute_error", scores.mean_absolute_error.to_dict()),
        baseline=value_alone("mean_absolute_error", metrics["baseline"]["mean_absolute_error"]),
        explained=number("r2", scores.r2.to_dict()),
        scores=score_table(metrics),
        points=_points(evaluated, float(every.min()), float(every.max())),
        low=f"{every.min():.4g}",
        high=f"{every.max():.4g}",
        errors=_largest_errors(evaluated),
        by=_by(metrics["by"]) if metrics.get("by") else None,
        training=training_charts(history, kept_epoch(history, monitor)) if history else [],
        kept=kept_note(history, monitor) if history else "",
        rows=metrics["rows"],
        recipe=recipe_facts(info),
        versions=version_facts(info),
        blocks=command_blocks(info, results.folder, choices_of(results), None),
        notes=unseen_note(results),
    )


def _points(evaluated: EvaluatedNumbers, low: float, high: float) -> list[Point]:
    order = np.argsort(evaluated.targets, kind="stable")
    shown = order[np.linspace(0, len(order) - 1, min(MOST_POINTS, len(order))).round().astype(np.int64)]
    extent = high - low or 1.0
    return [
        Point(
            round(WIDTH * float(evaluated.targets[at] - low) / extent, 1),
            round(HEIGHT * (1 - float(evaluated.predicted[at] - low) / extent), 1),
            f"{printable(evaluated.paths[at])}: {evaluated.targets[at]:.6g}, predicted {evaluated.predicted[at]:.6g}",
        )
        for at in shown.tolist()
    ]


def _largest_errors(evaluated: EvaluatedNumbers) -> list[LargeError]:
    errors = evaluated.predicted - evaluated.targets
    order = np.argsort(-np.abs(errors), kind="stable")[:SHOWN_ERRORS].tolist()
    return [
        LargeError(
            printable(evaluated.paths[at]),
            f"{evaluated.targets[at]:.6g}",
            f"{evaluated.predicted[at]:.6g}",
            format_values("mean_absolute_error", [errors[at]], "+")[0],
        )
        for at in order
    ]


def _by(by: Mapping[str, object]) -> tuple[str, list[tuple[str, int, Number]]]:
    values = by["values"]
    assert isinstance(values, list)
    rows = [
        (
            "none" if one["value"] is None else printable(one["value"]),
            one["rows"],
            number("mean_absolute_error", one["mean_absolute_error"]),
        )
        for one in values
    ]
    return printable(str(by["column"])), rows


def render_regression(content: RegressionContent) -> str:
    """The whole page: HTML without scripts."""
    style, script = resource("page.css"), ""
    return (
        page_templates()
        .get_template("regression.html")
        .render(
            page=content,
            policy=content_policy(style, script),
            style=Markup(style),  # noqa: S704  our own file
            width=WIDTH,
            height=HEIGHT,
        )
    )


def regression_card(content: RegressionContent) -> str:
    """The text of README.md: Markdown."""
    return render_card("regression_card.md", content)
