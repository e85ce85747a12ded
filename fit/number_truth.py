"""What is known about images that each have a number, and how good predictions of it are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from fit.arrays import Floats
from fit.choices import REGRESSION
from fit.metrics.by_value import error_by
from fit.metrics.intervals import NO_INTERVALS, Sampling
from fit.metrics.regression import ERRORS, REGRESSION_METRICS, RegressionScores, score_numbers
from fit.predictions import Evaluation
from fit.rows import ImageRows
from fit.splits import Positions


@dataclass(frozen=True)
class NumberTruth:
    """As `fit.evaluation.GroundTruth`, for a regression.

    Attributes:
        targets: (images,).
        split_groups: (images,): images with the same number belong together, which intervals depend on.
    """

    targets: Floats
    split_groups: Positions

    def score(self, images: Positions, outputs: Floats) -> RegressionScores:
        """Scores of those images, whose predicted numbers (images, 1) are given in the same order."""
        return score_numbers(self.targets[images], outputs[:, 0], Sampling(self.split_groups[images]))

    def of_images(self, images: Positions, outputs: Floats) -> dict[str, Floats]:
        """(images,), by metric: the absolute error of each of those images."""
        return {"mean_absolute_error": np.abs(self.targets[images] - outputs[:, 0])}

    def plain_scores(self, images: Positions, outputs: Floats) -> dict[str, float]:
        """The errors of those images, without intervals."""
        scores = score_numbers(self.targets[images], outputs[:, 0], NO_INTERVALS)
        return {name: cast(float, scores.metric(name).value) for name in ERRORS}

    def baseline(self, train: Positions, images: Positions) -> RegressionScores:
        """Scores of always predicting one number; see `constant`."""
        return self.constant(center_of(self.targets[train]), images)

    def constant(self, center: Sequence[float], images: Positions) -> RegressionScores:
        """Scores of always predicting one number: for the absolute error the median, else the mean; see `center_of`."""
        mean, median = (self.score(images, np.full((len(images), 1), value)) for value in center)
        found = {name: mean.metric(name) for name in REGRESSION_METRICS}
        found["mean_absolute_error"] = median.mean_absolute_error
        return RegressionScores(**found, rows=mean.rows, groups=mean.groups)

    def by_column(self, rows: ImageRows, column: str, evaluation: Evaluation) -> dict[str, object]:
        """The mean absolute error of each value that a column of the images' rows has among those evaluated."""
        images, values = evaluation.images, rows.column_values(column, "--by")
        errors = np.abs(self.targets[images] - evaluation.probabilities[:, 0])
        found = error_by([values[image] for image in images.tolist()], errors, self.split_groups[images])
        return {"column": column, "of": evaluation.name, "values": [one.to_dict() for one in found]}

    def headline(self, name: str, scores: Mapping[str, object]) -> dict[str, object]:  # noqa: ARG002
        """What metrics.json says beside the scores: the evaluation that the head is reported by."""
        return {"task": REGRESSION, "reported": name}

    def decided(self, evaluations: Sequence[Evaluation]) -> dict[str, object]:  # noqa: ARG002
        """See `fit.evaluation.GroundTruth`: numbers are predicted as they are."""
        return {}


def center_of(numbers: Floats) -> tuple[float, float]:
    """The mean and the median."""
    return float(numbers.mean()), float(np.median(numbers))
