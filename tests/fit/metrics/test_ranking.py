import numpy as np
import pytest
from sklearn import metrics as reference

from fit.metrics.ranking import RankedRows


@pytest.mark.parametrize("decimals", [1, 6])
@pytest.mark.parametrize("positives", [0.02, 0.5, 0.97])
def test_values_are_scikit_learns_with_ties_and_rare_classes(positives, decimals):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        positive = rng.random(150) < positives
        positive[:2] = [True, False]
        scores = np.round(rng.random(150) + 0.3 * positive, decimals)
        ranked = RankedRows.by_score(scores, positive)
        assert ranked.roc_auc().value == pytest.approx(reference.roc_auc_score(positive, scores))
        assert ranked.average_precision().value == pytest.approx(reference.average_precision_score(positive, scores))


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_an_influence_is_the_derivative_by_the_weight_of_a_row(metric):
    rng = np.random.default_rng(0)
    positive, copies = rng.random(25) < 0.4, 2000
    scores = np.round(rng.random(25) + 0.3 * positive, 1)
    estimate = getattr(RankedRows.by_score(scores, positive), metric)()
    for row in range(25):
        rows = np.r_[np.repeat(np.arange(25), copies), row]
        changed = getattr(RankedRows.by_score(scores[rows], positive[rows]), metric)()
        assert (changed.value - estimate.value) * copies == pytest.approx(estimate.influence[row], rel=0.01, abs=1e-5)


def test_rows_of_one_side_have_no_ranking():
    for positive, reason in ((np.ones(3, bool), "every image is"), (np.zeros(3, bool), "no image is")):
        ranked = RankedRows.by_score(np.arange(3.0), positive)
        for estimate in (ranked.roc_auc(), ranked.average_precision()):
            assert not estimate.defined
            assert reason in estimate.reason
