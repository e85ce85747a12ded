"""How often the intervals of Stillframe cover the truth, by simulation with the product's own functions.

    python -m benchmarks.coverage [--numbers] [--quick] [--draws N] [--out FILE.md]

Each line is a population from which test sets are drawn again and again: of `images` images, independent or in `groups`
groups of unequal size (their coefficient of variation is 0.6) whose images resemble each other. `given` is how often the
product printed an interval, `covered` how often an interval that was printed contains the truth. The coverage of a share
of independent images is computed exactly, over all numbers of right images.

`rarely` is in fewer than a fifth of the draws; wherever an interval is given in more, the target is 0.93 to 0.975.
Coverage above it is marked `+`: near 0 and 1 a share of few images can take few values, and the coverage jumps past the
target (of 45 images and a true accuracy of 0.95 the coverage is 0.927 or 0.976, whatever the interval). Below it is
marked `-`.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import softmax
from scipy.stats import binom, norm

from fit.arrays import Bools, Floats, Ints
from fit.metrics.estimates import share_of
from fit.metrics.intervals import Clusters, Interval, Sampling, interval_of
from fit.metrics.measured_rows import MeasuredRows, MultiLabelRows, SingleLabelRows
from fit.metrics.paired import compare_accuracies
from fit.metrics.paired_errors import compare_errors
from fit.metrics.regression import regression_estimates, score_numbers
from fit.metrics.scores import REQUIREMENTS, score

ACCURACIES = (0.5, 0.8, 0.95, 0.98)
SIZES = (12, 45, 114, 1000)
GROUPED = ((45, 10), (114, 10), (114, 30), (1000, 10), (1000, 30), (1000, 100))
"""Images and groups."""

INDEPENDENT = 0
LOWEST, HIGHEST = 0.93, 0.975
RARELY = 0.2
"""Given in a smaller share of the draws, an interval is given to draws that are far from the truth."""

_CORRELATION = 0.1
"""Of the hits in a group: beta-binomial."""

_EFFECT = 0.5
"""Standard deviation of a group's effect on the score of each class, where that of an image is 1."""

_CALIBRATE_ROWS = 50_000


@dataclass(frozen=True)
class Cell:
    """One population and metric, and what came of the draws.

    Attributes:
        metric: what the interval is of.
        images: in a draw.
        groups: 0 for independent images.
        truth: what the intervals should contain.
        accuracy: of the population; of the worse head for a pair of heads.
        given: the share of the draws with an interval.
        covered: the share of these that contain the truth; NaN if there are none.
        draws: how many; 0 for an exact coverage.
        errors: of predicted numbers, how their errors are distributed; `accuracy` is the R2 then.
    """

    metric: str
    images: int
    groups: int
    truth: float
    accuracy: float
    given: float
    covered: float
    draws: int
    errors: str = ""

    @property
    def mark(self) -> str:
        """`-` below the target, `+` above it, `` within it or where an interval is rarely given."""
        error = 2 * np.sqrt(LOWEST * (1 - LOWEST) / (self.draws * self.given)) if self.draws and self.given else 0.0
        if self.given < RARELY:
            return ""
        return "-" if self.covered < LOWEST - error else "+" if self.covered > HIGHEST else ""


class _Tally:
    """Counts of intervals that were given, and of those that cover the truth."""

    def __init__(self, truth: float) -> None:
        self.truth, self.given, self.covered = truth, 0.0, 0.0

    def add(self, interval: Interval, weight: float = 1.0) -> None:
        if interval.low is not None and interval.high is not None:
            self.given += weight
            self.covered += weight * (interval.low <= self.truth <= interval.high)

    def cell(self, metric: str, images: int, groups: int, accuracy: float, draws: int) -> Cell:
        given = self.given / (draws or 1)
        covered = self.covered / self.given if self.given else float("nan")
        return Cell(metric, images, groups, self.truth, accuracy, given, covered, draws)


def draw_groups(images: int, groups: int, rng: np.random.Generator) -> Ints | None:
    """(images,): the group of each image, every group having one or more; None for independent images."""
    if groups == INDEPENDENT:
        return None
    weights = rng.gamma(1 / 0.6**2, 1, groups)
    return np.concatenate([np.arange(groups), rng.choice(groups, images - groups, p=weights / weights.sum())])


# A share of the images


def exact_cells() -> Iterator[Cell]:
    """Accuracy of independent images: the exact coverage."""
    requirement = REQUIREMENTS["accuracy"]
    for images in SIZES:
        clusters = Clusters(images, None)
        intervals = [
            interval_of(share_of(np.arange(images) < right), clusters, requirement) for right in range(images + 1)
        ]
        for accuracy in ACCURACIES:
            tally = _Tally(accuracy)
            for right, interval in enumerate(intervals):
                tally.add(interval, float(binom.pmf(right, images, accuracy)))
            yield tally.cell("accuracy", images, INDEPENDENT, accuracy, 0)


def grouped_cells(draws: int) -> Iterator[Cell]:
    """Accuracy of images in groups: each group has its own accuracy, from a beta distribution."""
    strength = 1 / _CORRELATION - 1
    for images, groups in GROUPED:
        for accuracy in ACCURACIES:
            rng = np.random.default_rng(0)
            tally = _Tally(accuracy)
            for _ in range(draws):
                numbers = draw_groups(images, groups, rng)
                assert numbers is not None
                own = rng.beta(accuracy * strength, (1 - accuracy) * strength, groups)
                right: Bools = rng.random(images) < own[numbers]
                tally.add(interval_of(share_of(right), Clusters(images, numbers), REQUIREMENTS["accuracy"]))
            yield tally.cell("accuracy", images, groups, accuracy, draws)


# All metrics, of a classifier with scores that are normally distributed


@dataclass(frozen=True)
class Population:
    """Three unequal classes, or three labels, with scores around 0 and `separation`."""

    multi_label: bool
    grouped: bool
    separation: float

    def draw(self, images: int, groups: Ints | None, rng: np.random.Generator) -> tuple[Ints | Bools, Floats]:
        """Targets and probabilities of images in these groups."""
        frequencies = np.array([0.6, 0.3, 0.2]) if self.multi_label else np.array([0.6, 0.3, 0.1])
        marks: Bools
        if self.multi_label:
            marks = rng.random((images, 3)) < frequencies
        else:
            marks = rng.choice(3, images, p=frequencies)[:, None] == np.arange(3)
        scores = rng.normal(size=(images, 3)) + self.separation * marks
        if groups is not None:
            scores += rng.normal(0, _EFFECT, (int(groups.max()) + 1, 3))[groups]
        if self.multi_label:
            return marks, 1 / (1 + np.exp(-self.separation * (scores - self.separation / 2)))
        return marks.argmax(axis=1), softmax(1.2 * scores, axis=1)

    def draw_many(self) -> MeasuredRows:
        """Enough images, in many small groups, for the truth."""
        rng, images = np.random.default_rng(1), 4 * _CALIBRATE_ROWS
        targets, chances = self.draw(images, np.arange(images) // 5 if self.grouped else None, rng)
        return (
            MultiLabelRows(targets == 1, chances) if self.multi_label else SingleLabelRows(targets.astype(int), chances)
        )


def find_population(accuracy: float, multi_label: bool, grouped: bool) -> Population:
    """The population whose accuracy is that."""
    low, high = 0.0, 12.0
    for _ in range(25):
        separation = (low + high) / 2
        population, rng = Population(multi_label, grouped, separation), np.random.default_rng(2)
        groups = np.arange(_CALIBRATE_ROWS) // 5 if grouped else None
        targets, chances = population.draw(_CALIBRATE_ROWS, groups, rng)
        right = ((chances >= 0.5) == targets).all(axis=1) if multi_label else chances.argmax(axis=1) == targets
        low, high = (separation, high) if right.mean() < accuracy else (low, separation)
    return Population(multi_label, grouped, separation)


def metric_cells(draws: int, sizes: Sequence[tuple[int, int]], multi_label: bool) -> Iterator[Cell]:
    """Every other metric of a classifier."""
    for accuracy in ACCURACIES:
        populations = {grouped: find_population(accuracy, multi_label, grouped) for grouped in (False, True)}
        values = {
            grouped: {name: found.value for name, found in population.draw_many().estimates().items()}
            for grouped, population in populations.items()
        }
        for images, groups in sizes:
            population, truths = populations[groups != INDEPENDENT], values[groups != INDEPENDENT]
            tallies = {
                name: _Tally(truth) for name, truth in truths.items() if name != "accuracy" and not np.isnan(truth)
            }
            rng = np.random.default_rng(3)
            for _ in range(draws):
                numbers = draw_groups(images, groups, rng)
                targets, chances = population.draw(images, numbers, rng)
                scores = score(targets, chances, ("a", "b", "c"), Sampling(numbers))
                for name, tally in tallies.items():
                    tally.add(scores.metric(name))
            for name, tally in tallies.items():
                label = f"{name} (labels)" if multi_label else name
                yield tally.cell(label, images, groups, accuracy, draws)


# Pairs of heads


def paired_cells(draws: int) -> Iterator[Cell]:
    """The difference of two heads that find the same images hard: equally good ones, and one that is worse."""
    for images, groups in [*((size, INDEPENDENT) for size in SIZES), *GROUPED]:
        for accuracy in ACCURACIES:
            for worse in (accuracy, 1 - 2 * (1 - accuracy) if accuracy > 0.5 else 0.4):
                spread = np.sqrt(1 + (_EFFECT**2 if groups else 0))
                limits = norm.ppf([accuracy, worse]) * spread
                tally, rng = _Tally(accuracy - worse), np.random.default_rng(4)
                for _ in range(draws):
                    numbers = draw_groups(images, groups, rng)
                    right: Bools = draw_hardness(images, numbers, rng) < limits
                    tally.add(compare_accuracies(right[:, 0], right[:, 1], Sampling(numbers)).difference)
                yield tally.cell("difference", images, groups, worse, draws)


def draw_hardness(images: int, groups: Ints | None, rng: np.random.Generator) -> Floats:
    """(images, 2): how hard each image is for each head; most of it is common to both."""
    common = rng.normal(0, 0.8, (images, 1))
    own = rng.normal(0, 0.6, (images, 2))
    if groups is not None:
        own = own + rng.normal(0, _EFFECT, (int(groups.max()) + 1, 2))[groups]
    return common + own


# Metrics of numbers


@dataclass(frozen=True)
class NumberPopulation:
    """Numbers, and predictions whose errors are normal, have heavy tails (t with 4 degrees), or grow with skewed numbers.

    Of images in groups, 0.3 of the variance of the numbers, and of the errors, is between groups.
    """

    kind: str
    explained: float

    def draw(self, images: int, groups: Ints | None, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Numbers and their predictions."""
        skewed = self.kind == "skewed"
        deviation = np.sqrt((np.exp(0.49) - 1) * np.exp(0.49)) if skewed else 1.0
        targets = rng.lognormal(0, 0.7, images) if skewed else rng.normal(size=images)
        errors = rng.standard_t(4, images) / np.sqrt(2) if self.kind == "heavy" else rng.normal(size=images)
        if skewed:
            errors *= targets / np.exp(0.49)
        if groups is not None:
            of_groups = rng.normal(0, np.sqrt(0.3), (int(groups.max()) + 1, 2))[groups]
            targets = np.sqrt(0.7) * targets + deviation * of_groups[:, 0]
            errors = np.sqrt(0.7) * errors + of_groups[:, 1]
        return targets, targets + deviation * np.sqrt(1 - self.explained) * errors

    def draw_pair(self, images: int, groups: Ints | None, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """The absolute errors of two heads, of which half is common to both; the second is a tenth worse."""
        drawn = (self.draw(images, groups, rng) for _ in range(3))
        common, first, second = (predicted - targets for targets, predicted in drawn)
        return np.abs(common + first), 1.1 * np.abs(common + second)


ERRORS = ("normal", "heavy", "skewed")
EXPLAINED = (0.5, 0.9)
NUMBER_POPULATIONS = [NumberPopulation(kind, explained) for kind in ERRORS for explained in EXPLAINED]

RANKED = "spearman"
"""The metric whose coverage depends on the R2 of the population. The others are of errors, and with another R2 all errors
are multiplied by one number: their intervals cover in the same draws."""


def number_cells(
    draws: int, sizes: Sequence[tuple[int, int]], populations: Sequence[NumberPopulation]
) -> Iterator[Cell]:
    """Every metric of predicted numbers; those that do not depend on the R2 for the first one alone."""
    for population in populations:
        for images, groups in sizes:
            many, rng = 8 * _CALIBRATE_ROWS, np.random.default_rng(1)
            targets, predicted = population.draw(many, np.arange(many) // 5 if groups else None, rng)
            estimates = regression_estimates(targets, predicted)
            measured = estimates if population.explained == EXPLAINED[0] else [RANKED]
            tallies = {name: _Tally(estimates[name].value) for name in measured}
            rng = np.random.default_rng(5)
            for _ in range(draws):
                numbers = draw_groups(images, groups, rng)
                scores = score_numbers(*population.draw(images, numbers, rng), Sampling(numbers))
                for name, tally in tallies.items():
                    tally.add(scores.metric(name))
            for name, tally in tallies.items():
                yield replace(tally.cell(name, images, groups, population.explained, draws), errors=population.kind)


# The table


def measure(draws: int, quick: bool) -> list[Cell]:
    """All cells; with `quick`, few of the metrics'."""
    sizes = [(size, INDEPENDENT) for size in SIZES] + list(GROUPED)
    cells = [*exact_cells(), *grouped_cells(2 * draws)]
    if quick:
        return [*cells, *metric_cells(draws, [(114, INDEPENDENT)], False)]
    return [*cells, *paired_cells(2 * draws), *metric_cells(draws, sizes, False), *metric_cells(draws, sizes, True)]


def number_pair_cells(draws: int, sizes: Sequence[tuple[int, int]]) -> Iterator[Cell]:
    """The difference of the mean absolute errors of two heads that find the same images hard."""
    for population in NUMBER_POPULATIONS[:: len(EXPLAINED)]:
        for images, groups in sizes:
            many = 8 * _CALIBRATE_ROWS
            first, second = population.draw_pair(
                many, np.arange(many) // 5 if groups else None, np.random.default_rng(1)
            )
            tally, rng = _Tally(float((first - second).mean())), np.random.default_rng(6)
            for _ in range(draws):
                numbers = draw_groups(images, groups, rng)
                tally.add(compare_errors(*population.draw_pair(images, numbers, rng), Sampling(numbers)).difference)
            cell = tally.cell("difference of errors", images, groups, population.explained, draws)
            yield replace(cell, errors=population.kind)


def format_number_table(cells: Sequence[Cell]) -> list[str]:
    """Markdown: one line per metric, images and groups, and R2 where that matters; one column per kind of errors."""
    lines = ["| interval of | images | groups | " + " | ".join(ERRORS) + " |", "|---" * (3 + len(ERRORS)) + "|"]
    rows = defaultdict[tuple[str, int, int], dict[str, str]](dict)
    for cell in sorted(cells, key=lambda cell: (cell.metric, cell.accuracy, cell.images, cell.groups)):
        name = f"{cell.metric}, R2 {cell.accuracy:g}" if cell.metric == RANKED else cell.metric.replace("_", " ")
        rows[name, cell.images, cell.groups][cell.errors] = _format_cell(cell)
    for (name, images, groups), texts in rows.items():
        if any(text != "-" for text in texts.values()):
            shown = " | ".join(texts[errors] for errors in ERRORS)
            lines.append(f"| {name} | {images:,} | {groups or '-'} | {shown} |")
    return lines


def format_table(cells: Sequence[Cell]) -> list[str]:
    """Markdown: one line per metric, images and groups; one column per accuracy, as covered (given)."""
    lines = ["| interval of | images | groups | " + " | ".join(f"{accuracy:g}" for accuracy in ACCURACIES) + " |"]
    lines.append("|---" * (3 + len(ACCURACIES)) + "|")
    rows = defaultdict[tuple[str, int, int], list[str]](list)
    for cell in cells:
        rows[cell.metric, cell.images, cell.groups].append(_format_cell(cell))
    without = defaultdict[str, list[str]](list)
    for (metric, images, groups), found in rows.items():
        pairs = len(found) // len(ACCURACIES)
        texts = [", ".join(found[at : at + pairs]) for at in range(0, len(found), pairs)]
        name = metric.replace("_", " ")
        if any(text.strip(", -") for text in texts):
            lines.append(f"| {name} | {images:,} | {groups or '-'} | " + " | ".join(texts) + " |")
        else:
            without[name].append(f"{images:,}{f' in {groups}' if groups else ''}")
    found = "; ".join(f"{name} ({', '.join(sizes)})" for name, sizes in without.items())
    return [*lines, "", f"Without an interval (images, in groups): {found}."]


def _format_cell(cell: Cell) -> str:
    if cell.given == 0:
        return "-"
    share = "" if cell.given > 0.995 else f" ({cell.given:.2f})"
    if cell.given < RARELY:
        return f"rarely{share}"
    return f"{cell.covered:.3f}{cell.mark}{share}"


def main() -> None:
    """Print the table, and what is outside the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--numbers", action="store_true", help="the metrics of a regression, instead of those of classes"
    )
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    draws = 100 if options.quick else options.draws
    if options.numbers:
        sizes = [(size, INDEPENDENT) for size in SIZES] + list(GROUPED)
        cells = [*number_cells(draws, sizes, NUMBER_POPULATIONS), *number_pair_cells(2 * draws, sizes)]
    else:
        cells = measure(draws, options.quick)
    lines = (format_number_table if options.numbers else format_table)(cells)
    print("\n".join(lines))
    counted = [cell for cell in cells if cell.given >= RARELY]
    below, above = (sum(cell.mark == mark for cell in counted) for mark in "-+")
    print(f"\n{len(counted)} populations with intervals: {below} covered too rarely, {above} more often than necessary")
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
