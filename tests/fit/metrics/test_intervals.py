import numpy as np
import pytest

from fit.metrics.estimates import Estimate, Scale, mean_of, share_of
from fit.metrics.intervals import Clusters, Interval, Requirement, interval_of, measure_spread, wilson_interval

ANY = Requirement(images=20, groups=10)


def right(count, rows):
    return share_of(np.arange(rows) < count)


def alone(count, rows):
    """The accuracy of independent rows."""
    return interval_of(right(count, rows), Clusters(rows, None), ANY)


def test_wilsons_interval():
    # Nine of ten, as R's prop.test(9, 10, correct = FALSE) has it.
    found = wilson_interval(0.9, 10)
    assert (found.low, found.high) == pytest.approx((0.5958500, 0.9821238), abs=1e-6)


def test_all_images_right_does_not_mean_that_all_others_would_be():
    found = alone(45, 45)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.921, abs=0.001)
    assert alone(0, 45).high == pytest.approx(1 - found.low)


def test_few_images_have_no_interval_and_a_sentence():
    assert alone(11, 12) == Interval(11 / 12, None, None, "12 images: too few for an interval (20 or more)")
    assert alone(1, 1).reason == "1 image: too few for an interval (20 or more)"
    assert alone(19, 20).low is not None


def test_few_groups_have_no_interval_and_a_sentence():
    # 87 images of 2 groups: version 0.5.0 said 0.874 (0.863..0.889).
    found = interval_of(right(76, 87), Clusters(87, np.arange(87) % 2), ANY)
    assert found.value == pytest.approx(0.874, abs=0.001)
    assert (found.low, found.high) == (None, None)
    assert found.reason == "87 images in 2 groups: too few groups for an interval (10 or more)"


def test_a_metric_may_need_more_images_than_groups():
    demanding = Requirement(images=200, groups=50)
    losses = np.random.default_rng(0).gamma(1, 1, 300)
    found = interval_of(mean_of(losses[:100]), Clusters(100, np.arange(100) // 2), demanding)
    assert found.reason == "100 images in 50 groups: too few images for an interval (200 or more)"
    assert interval_of(mean_of(losses), Clusters(300, np.arange(300) // 6), demanding).low is not None


def test_a_pair_of_identical_images_does_not_make_the_others_groups():
    twins = np.maximum(np.arange(60) - 1, 0)
    demanding = Requirement(images=40, groups=100)
    influence = np.random.default_rng(0).normal(0, 0.01, 60)
    estimate = Estimate(0.8, influence - influence.mean(), Scale.UNIT)
    assert interval_of(estimate, Clusters(60, twins), demanding).low is not None
    assert "too few groups" in interval_of(estimate, Clusters(60, np.arange(60) // 2), demanding).reason
    assert interval_of(right(12, 16), Clusters(16, twins[:16]), ANY).reason == (
        "16 images in 15 groups: too few for an interval (20 or more)"
    )


def test_ten_groups_of_which_one_has_nearly_all_images_are_too_few():
    groups = np.r_[np.zeros(991, int), np.arange(1, 10)]
    found = interval_of(right(500, 1000), Clusters(1000, groups), ANY)
    assert found.low is None
    assert "most of them in one or two groups" in found.reason


def test_large_groups_that_are_nearly_all_right_have_no_interval():
    groups = np.repeat(np.arange(12), 50)
    marks = np.ones(600, bool)
    marks[[0, 1, 60, 120]] = False
    found = interval_of(share_of(marks), Clusters(600, groups), ANY)
    assert found.reason == (
        "only 3 of 12 large groups have an image that is wrong: too few for an interval (6 or more)"
    )
    assert "only 0 of 12 large groups" in interval_of(right(600, 600), Clusters(600, groups), ANY).reason
    assert "only 0 of 12 large groups have an image that is right" in (
        interval_of(right(0, 600), Clusters(600, groups), ANY).reason
    )
    marks[[180, 240, 300]] = False
    assert interval_of(share_of(marks), Clusters(600, groups), ANY).low is not None


def test_small_groups_that_are_all_right_count_as_one_image_each():
    found = interval_of(right(60, 60), Clusters(60, np.arange(60) // 2), ANY)
    expected = wilson_interval(1.0, 30)
    assert (found.low, found.high) == (pytest.approx(expected.low), 1.0)


def test_copies_of_an_image_add_nothing():
    rng = np.random.default_rng(0)
    marks = rng.random(60) < 0.8
    copies, groups = np.repeat(marks, 10), np.repeat(np.arange(60), 10)
    once = interval_of(share_of(marks), Clusters(60, None), ANY)
    grouped = interval_of(share_of(copies), Clusters(600, groups), ANY)
    naive = interval_of(share_of(copies), Clusters(600, None), ANY)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.1)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_the_variance_of_a_share_is_that_of_the_jackknife_over_groups():
    rng = np.random.default_rng(0)
    groups = rng.choice(15, 90, p=np.arange(1, 16) / 120)
    marks = rng.random(90) < 0.7
    left_out = np.array([marks[groups != group].mean() for group in range(15)])
    clusters = Clusters(90, groups)
    assert clusters.count == 15
    expected = 14 / 15 * ((left_out - marks.mean()) ** 2).sum()
    assert measure_spread(share_of(marks).influence, clusters).variance == pytest.approx(expected)


def test_groups_that_differ_in_size_or_of_which_few_vary_widen_the_interval():
    equal, unequal = np.repeat(np.arange(20), 5), np.r_[np.arange(20), np.zeros(80, int)]
    influence = np.tile([1.0, -1.0], 50)
    assert measure_spread(influence, Clusters(100, equal)).freedom == pytest.approx(19)
    assert measure_spread(influence, Clusters(100, unequal)).quantile > 4
    rare = np.zeros(100)
    rare[[0, 50]] = 1, -1
    assert measure_spread(rare, Clusters(100, equal)).freedom < 5


def test_a_mean_loss_of_skewed_losses_has_more_room_above():
    losses = np.random.default_rng(0).gamma(0.2, 1, 100)
    found = interval_of(mean_of(losses), Clusters(100, None), ANY)
    assert 0 < found.low < found.value < found.high
    assert found.high - found.value > 1.3 * (found.value - found.low)
    assert np.log(found.high / found.value) > 1.1 * np.log(found.value / found.low)
    assert found == interval_of(mean_of(losses), Clusters(100, None), ANY)


def test_a_loss_that_is_one_images_has_no_interval():
    losses = np.full(100, 0.01)
    losses[0] = 30
    assert "a single image makes up" in interval_of(mean_of(losses), Clusters(100, None), ANY).reason
    assert "every image gives the same" in interval_of(mean_of(np.full(100, 0.5)), Clusters(100, None), ANY).reason
    rounded = 0.5 + 1e-16 * np.arange(100)
    assert "every image gives the same" in interval_of(mean_of(rounded), Clusters(100, None), ANY).reason
    assert "every image gives the same" in interval_of(mean_of(np.zeros(100)), Clusters(100, None), ANY).reason


def test_many_groups_take_no_resamples():
    losses = np.random.default_rng(0).gamma(1, 1, 3000)
    few, many = (interval_of(mean_of(losses[:rows]), Clusters(rows, None), ANY) for rows in (1000, 3000))
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(np.sqrt(1 / 3), rel=0.1)


def test_metrics_near_a_bound_stay_within_it_or_have_no_interval():
    rng = np.random.default_rng(0)
    influence = rng.normal(0, 0.002, 100)
    influence -= influence.mean()
    clusters = Clusters(100, None)
    found = interval_of(Estimate(0.97, influence, Scale.UNIT), clusters, ANY)
    assert 0 < found.low < 0.97 < found.high < 1
    assert 0.97 - found.low > found.high - 0.97
    lowest = interval_of(Estimate(-0.97, influence, Scale.SIGNED), clusters, ANY)
    assert -1 < lowest.low < -0.97 < lowest.high
    demanding = Requirement(images=20, groups=10, errors=100)
    assert interval_of(Estimate(0.97, influence, Scale.UNIT), clusters, demanding).reason == (
        "too near 1 for an interval"
    )
    assert interval_of(Estimate(1.0, np.zeros(100), Scale.UNIT), clusters, ANY).low is None


def test_an_undefined_metric_has_no_value_and_its_reason():
    assert interval_of(mean_of(np.zeros(0)), Clusters(0, None), ANY) == Interval(None, None, None, "no images")


def test_groups_must_be_one_per_row():
    with pytest.raises(ValueError, match="2 groups for 3 rows"):
        Clusters(3, np.zeros(2, int))


def test_an_interval_with_a_reason_says_so_in_json():
    assert Interval(0.5, 0.4, 0.6).to_dict() == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert Interval(0.5, None, None, "why").to_dict() == {"value": 0.5, "low": None, "high": None, "reason": "why"}


@pytest.mark.parametrize(("images", "groups", "accuracy"), [(120, 12, 0.8), (300, 30, 0.95), (300, 30, 0.6)])
def test_intervals_over_groups_cover_the_truth_as_often_as_they_say(images, groups, accuracy):
    rng = np.random.default_rng(0)
    covered = naive = 0
    for _ in range(400):
        own = rng.beta(accuracy * 4, (1 - accuracy) * 4, groups)
        numbers = np.arange(images) % groups
        estimate = share_of(rng.random(images) < own[numbers])
        found, alone = (interval_of(estimate, Clusters(images, known), ANY) for known in (numbers, None))
        covered += found.low <= accuracy <= found.high
        naive += alone.low <= accuracy <= alone.high
    assert 0.92 <= covered / 400 <= 0.985
    assert naive / 400 < 0.85
