"""Where a store's weights were, in what made it; `end_to_end` and `extract` test the rest of `store info`."""

import os

import pytest

from store import open_store
from store.information import run_options, weights_of
from tests.store.build import SmallStore, edit_json, make_images


@pytest.fixture
def store(tmp_path):
    """A store by two runs."""
    small = SmallStore(tmp_path)
    small.update(make_images("a.png"))
    small.update(make_images("a.png", "b.png"))
    return small


def note_weights(store, places, newest=0):
    """Let the records, as a snapshot has them in order, say where the weights were; one was published last."""
    for number, (record, place) in enumerate(zip(store.snapshot.records.values(), places, strict=True)):
        file = store.folder.path(record.slot.file)
        edit_json(file, environment={"weights": place} if place else {})
        os.utime(file, ns=(0, 10**9 * (1 + (number == newest))))


@pytest.mark.parametrize("newest", [0, 1])
def test_the_weights_are_where_the_record_says_that_was_published_last(newest, store, tmp_path):
    note_weights(store, ["/first.h5", "/second.h5"], newest)
    opened = open_store(tmp_path)
    assert weights_of(opened) == run_options(opened)["weights"] == ["/first.h5", "/second.h5"][newest]


def test_records_of_early_versions_do_not_say_it(store, tmp_path):
    note_weights(store, ["", ""])
    assert weights_of(open_store(tmp_path)) == "imagenet"


def test_a_store_without_records_says_nothing(tmp_path):
    SmallStore(tmp_path)
    opened = open_store(tmp_path)
    assert weights_of(opened) == "imagenet"
    assert "weights" not in run_options(opened)


def test_a_record_that_garbage_collection_has_removed_meanwhile_is_the_oldest(store, tmp_path):
    note_weights(store, ["/first.h5", "/second.h5"])
    opened = open_store(tmp_path)
    store.folder.path(next(iter(opened.snapshot.records.values())).slot.file).unlink()
    assert weights_of(opened) == "/second.h5"
