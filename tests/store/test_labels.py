"""Counting labels, splits and groups, and saying it in a line."""

import pyarrow as pa
import pytest

from store.information import describe_store
from store.labels import count_labels
from store.reader import FeatureStore
from tests.store.build import Image, SmallStore


def listing(labels, splits=None, groups=None):
    count = len(labels)
    columns = {"label": labels, "split": splits or [None] * count, "group": groups or [None] * count}
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (listing(["b", "a", "b"]), "2 classes: a 1, b 2; splits: none"),
        (listing(["a"]), "1 class: a 1; splits: none"),
        (listing([None, None]), "no labels; splits: none"),
        (listing(["a", None]), "1 class: a 1; splits: none; without label: 1"),
        (
            listing(["a", "a", "b"], ["test", "train", "train"], ["g", "h", None]),
            "2 classes: a 2, b 1; splits: train 2, test 1; groups: 2",
        ),
        (listing(["a|b", "b", " b|"]), "2 classes: a 1, b 3; splits: none"),
        (listing(["a\nb"]), "1 class: a\\nb 1; splits: none"),
        (
            listing([f"{number:04d}" for number in range(1000)] + ["0003"] * 5),
            "1,000 classes: 0000 1, 0001 1, 0002 1, 0003 6, …, each 1 to 6; splits: none",
        ),
    ],
)
def test_one_line_says_what_there_is(table, sentence):
    assert count_labels(table).sentence == sentence


def test_a_store_is_described_with_its_labels_and_what_computed_it(tmp_path):
    store = SmallStore(tmp_path / "store")
    store.update({"a.png": Image("x", "cat", "train", "g"), "b.png": Image("y"), "c.png": Image("z", "dog")})
    described = describe_store(FeatureStore(store.folder, store.snapshot)).to_dict()
    assert described["classes"] == {"cat": 1, "dog": 1}
    assert described["splits"] == {"train": 1}
    assert (described["groups"], described["unlabelled"]) == (1, 1)
    assert [(used["runtime"], used["shards"]) for used in described["computed_by"]] == [("none", 2)]
    assert (described["format"], described["compression"]) == ("parquet", "zstd")
