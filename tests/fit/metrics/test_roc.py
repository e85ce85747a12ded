import numpy as np
import pytest
from sklearn import metrics as reference

from fit.metrics.roc import RankedRows


def test_an_area_under_weights_is_that_of_repeated_rows():
    rng = np.random.default_rng(0)
    chances, positive = np.round(rng.random(30), 1), rng.random(30) < 0.5
    weights = rng.integers(0, 4, (5, 30))
    areas = RankedRows.by_score(chances, positive).area(weights)
    for row, area in zip(weights, areas, strict=True):
        assert area == pytest.approx(reference.roc_auc_score(np.repeat(positive, row), np.repeat(chances, row)))
