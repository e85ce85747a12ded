import numpy as np

from fit.metrics.by_value import accuracy_by


def test_the_worst_value_comes_first_with_its_number_of_images_and_groups():
    values = ["a"] * 40 + ["b"] * 30 + [None] * 2 + ["c"] * 2
    right = np.r_[np.ones(30, bool), np.zeros(10, bool), np.ones(30, bool), [True, False], [True, False]]
    found = accuracy_by(values, right, None)
    assert [one.value for one in found] == [None, "c", "a", "b"]
    assert [one.accuracy.value for one in found] == [0.5, 0.5, 0.75, 1.0]
    assert [one.rows for one in found] == [2, 2, 40, 30]
    assert found[0].accuracy.reason.startswith("2 images: too few")
    assert found[2].accuracy.low < 0.75 < found[2].accuracy.high
    assert found[2].to_dict()["accuracy"].keys() == {"value", "low", "high"}


def test_images_of_one_group_count_together():
    groups = np.arange(60) // 20
    (found,) = accuracy_by(["a"] * 60, np.arange(60) % 2 == 0, groups)
    assert found.groups == 3
    assert "60 images in 3 groups" in found.accuracy.reason
