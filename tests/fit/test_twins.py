"""Images that show the same thing under other bytes: found by their features, counted, and kept on one side."""

import numpy as np
import pytest

import tests.store.build
from extract.api import Reporter
from fit.data import InMemory
from fit.options import FitOptions
from fit.train import fit_with
from fit.twins import find_near_twins
from store import open_store
from store.errors import UsageError
from store.recipe import Output
from tests.store.build import Image, SmallStore

COLUMNS = 128


def photographs(count=80, copies=20, noise=0.02, seed=0):
    """Features that have much in common, as a network's have; the last ones are near copies of the first."""
    rng = np.random.default_rng(seed)
    values = 30 + rng.normal(0, 1, (count, COLUMNS))  # raw, all have a cosine above 0.99
    return np.concatenate([values, values[:copies] + rng.normal(0, noise, (copies, COLUMNS))]).astype(np.float32)


def find(values, sha256=None, messages=None):
    digests = sha256 or [f"{number}" for number in range(len(values))]
    reporter = Reporter((messages if messages is not None else []).append)
    return find_near_twins(InMemory(values), np.arange(len(values)), digests, reporter)


def test_near_copies_are_found_and_nothing_else():
    messages = []
    groups = find(photographs(), messages=messages)
    assert np.array_equal(groups[:20], groups[80:])
    assert len(set(groups.tolist())) == 80
    assert messages[0].startswith("40 images are near twins of another (their features have a cosine of 0.99 or more)")


@pytest.mark.parametrize(("cosine", "found"), [(0.995, True), (0.985, False)])
def test_the_threshold_is_as_stated(cosine, found):
    values = np.random.default_rng(1).normal(0, 1, (60, COLUMNS))
    values -= values.mean(axis=0)
    first, other = values[0], values[1]
    across = other - first * (other @ first) / (first @ first)
    turned = cosine * first / np.linalg.norm(first) + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across)
    # Its opposite keeps the mean at zero.
    groups = find(np.concatenate([values, [turned], [-turned]]).astype(np.float32))
    assert (groups is not None) == found


def test_images_of_equal_bytes_are_not_counted():
    values = photographs(noise=0.0)
    assert find(values, [f"{number % 80}" for number in range(100)]) is None


def test_views_and_tensors_are_compared_by_their_unaltered_average():
    values = photographs()
    tensors = np.repeat(values[:, None, None, :], 2, axis=1)
    views = np.concatenate([tensors, np.zeros_like(tensors)], axis=1).reshape(200, 2, 1, COLUMNS)
    groups = find_near_twins(InMemory(views), np.arange(100) * 2, [f"{number}" for number in range(100)])
    assert np.array_equal(groups, find(values))


def test_where_features_say_too_little_there_are_none():
    assert find(photographs(count=20, copies=10)) is None
    assert find(photographs()[:, :30]) is None


def test_too_many_images_are_said_not_to_be_compared(monkeypatch):
    monkeypatch.setattr("fit.twins.MOST_IMAGES", 90)
    messages = []
    assert find(photographs(), messages=messages) is None
    assert messages[0].startswith("note: near twins are not looked for among 100 images")


@pytest.fixture
def twins(tmp_path, monkeypatch):
    """75 pairs of near twins; their features have nothing to do with their labels."""
    values = photographs(150, 0)
    values[1::2] = values[::2] + np.random.default_rng(5).normal(0, 0.02, (75, COLUMNS))
    monkeypatch.setattr(tests.store.build, "feature_of", lambda path, *_: values[int(path)])
    labels = np.random.default_rng(3).integers(0, 2, 75)
    images = {f"{number:03d}": Image(f"{number}", "ab"[labels[number // 2]]) for number in range(150)}
    SmallStore(tmp_path / "store", (Output("features", "top", "avg", (COLUMNS,), "float32"),)).update(images)
    return open_store(tmp_path / "store")


def fit_nearest(store, **options):
    messages = []
    given = FitOptions("knn", parameters={"neighbors": 1}, cv=4, **options)
    return fit_with(store, given, Reporter(messages.append)), messages


def test_twins_on_both_sides_make_a_head_look_good_and_on_one_side_do_not(twins):
    """A head that knows nothing but its training images."""
    ignored, said = fit_nearest(twins, near_twins="ignore")
    assert ignored.metrics["cv"]["accuracy"]["value"] > 0.7
    assert not any("near twins" in line for line in said)
    kept, said = fit_nearest(twins)
    assert kept.metrics["cv"]["accuracy"]["value"] < 0.65
    assert any("150 images are near twins of another" in line for line in said)
    images = kept.experiment.images
    assert images.split_group[::2] == images.split_group[1::2]
    assert kept.experiment.choices.near_twins == "keep-together"


def test_another_choice_is_refused():
    with pytest.raises(UsageError, match="--near-twins is 'drop': expected one of keep-together, ignore"):
        FitOptions(near_twins="drop")
