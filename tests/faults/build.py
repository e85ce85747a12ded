"""The store that the tests of faults write: five images, one of them bad, in three shards."""

import os

import numpy as np

from store import open_store
from store.maintenance import verify
from tests.store.build import BROKEN, Image, SmallStore, features_of, make_images

IMAGES = {**make_images("a/1.png", "a/2.png", "b/3.png", "b/4.png", label="cat"), "b/5.png": Image(BROKEN)}
ROWS = sorted(path for path, image in IMAGES.items() if image.content != BROKEN)


def run(root):
    """What `extract run` does to a store, from its first file to the last record."""
    small = SmallStore(root)
    small.update(IMAGES, images_per_shard=2)
    return small


def assert_complete(root):
    """The store has every image once, as a store does that no fault befell."""
    features = open_store(root)
    found = features.verify()
    assert found.sound
    assert (found.images, found.rows, found.failures, found.pending) == (5, 4, 1, 0)
    x, rows = features.arrays()
    assert rows["path"].to_pylist() == ROWS
    np.testing.assert_array_equal(x, features_of(IMAGES, ROWS, next(iter(features.outputs.values()))))


def assert_sound(root):
    """Whatever there is of a store is sound: nothing, or a store that is not finished."""
    if os.path.exists(root / "store.json"):
        assert verify(SmallStore(root).folder).sound
