"""store.json, view, record and head.json with anything in any place: only the errors that are documented.

STILLFRAME_MUTANTS=50000 pytest -n 2 -m slow tests/attacks/test_mutated_json.py
    tries that many of each of the four files
"""

import hashlib
import json
import os
import random
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from fit import load_head
from store import open_store
from store.errors import DamagedHead, DamagedStore
from store.maintenance import collect_garbage, repair, verify
from store.snapshot import load_snapshot
from tests.attacks.hostile import raised
from tests.attacks.mutate import BYTES, mutated_bytes, with_text_everywhere
from tests.store.build import Image, edit_json, make_images

IMAGES = {**make_images("a/1.png", "a/2.png", label="cat"), "b/3.png": Image("broken")}
HEADS = Path(__file__).parent.parent / "data" / "0.5.0" / "heads"
MANY = pytest.param(int(os.environ.get("STILLFRAME_MUTANTS", "3000")), marks=pytest.mark.slow)


@pytest.fixture
def filled(small):
    small.update(IMAGES, images_per_shard=4)
    return small


def path_of(small, name):
    return small.record_file(small.snapshot.plan, 0) if name == "record" else small.folder.path(name)


def looks(small):
    """Everything that reads a store."""
    yield lambda: open_store(small.folder.root).arrays()
    yield lambda: load_snapshot(small.folder).failures()
    yield lambda: verify(small.folder)
    yield lambda: collect_garbage(small.folder, dry_run=True)


def assert_documented(look):
    """Nothing but an error of ours comes out, one that says that the files are wrong."""
    error = raised(look)
    if error is not None:
        assert error.exit_code in (2, 4), error
        assert "\n" not in str(error)
        assert len(str(error)) < 2000


def refingerprinted(data):
    """A store.json whose sums fit its content, as someone makes it who means harm."""
    try:
        values = json.loads(data)
        values.pop("digest", None)
        canonical = json.dumps(values["recipe"], sort_keys=True, separators=(",", ":"))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return data
    return json.dumps({**values, "fingerprint": hashlib.sha256(canonical.encode()).hexdigest()}).encode()


@pytest.mark.parametrize("count", [40, MANY])
@pytest.mark.parametrize("name", ["store.json", "view/1.json", "record"])
def test_a_store_with_a_mutated_file_is_read_or_refused(filled, name, count):
    path = path_of(filled, name)
    values, rng = json.loads(path.read_bytes()), random.Random(0)
    for _ in range(count):
        data = mutated_bytes(values, rng)
        path.write_bytes(refingerprinted(data) if name == "store.json" else data)
        for look in looks(filled):
            assert_documented(look)


@pytest.mark.parametrize("name", ["store.json", "view/1.json", "record"])
def test_after_repair_any_damage_is_gone(filled, name):
    path = path_of(filled, name)
    values, rng, before = json.loads(path.read_bytes()), random.Random(1), filled.files()
    for _ in range(10):
        path.write_bytes(mutated_bytes(values, rng))
        repair(filled.folder)
        assert verify(filled.folder).sound
        shutil.rmtree(filled.folder.root)
        for file, data in before.items():
            filled.folder.create(file, data)


@pytest.mark.parametrize("data", BYTES, ids=lambda data: f"{data[:12]!r}, {len(data)} bytes")
@pytest.mark.parametrize("name", ["store.json", "view/1.json", "record"])
def test_a_file_that_is_no_json_object_is_damage(filled, name, data):
    path_of(filled, name).write_bytes(data)
    error = raised(lambda: verify(filled.folder))
    assert error.exit_code in (2, 4) if error else not verify(filled.folder).sound


@pytest.mark.parametrize("name", ["store.json", "view/1.json", "record"])
def test_a_value_of_any_length_is_cut_in_the_message(filled, name):
    path = path_of(filled, name)
    for values in with_text_everywhere(json.loads(path.read_bytes()), "x" * 10_000):
        data = json.dumps(values).encode()
        path.write_bytes(refingerprinted(data) if name == "store.json" else data)
        for look in looks(filled):
            assert_documented(look)


RECIPE = {
    "resize": ("evil", "expected one of bilinear, nearest"),
    "image_size": ([10**6, 10**6], "expected a list of 2, each a whole number from 1 to 4,096"),
    "crop": (5, "expected one of stretch"),
    "layers": ([1], "expected a list, each text"),
    "background": ("white", "expected a color as #rrggbb"),
    "fast_decode": (1, "expected true or false"),
    "augment": ({"views": 0}, "expected a whole number from 1 to 1,000"),
    "weights": ("short", "expected a SHA-256"),
    "dtypes": (["float8"], "expected a list, each one of float16, float32"),
}


@pytest.mark.parametrize("name", RECIPE)
def test_a_field_of_the_recipe_says_what_was_expected_and_what_came(filled, name):
    value, words = RECIPE[name]
    path = filled.folder.path("store.json")
    values = json.loads(path.read_text())
    values["recipe"][name] = value
    path.write_bytes(refingerprinted(json.dumps(values).encode()))
    with pytest.raises(DamagedStore) as caught:
        open_store(filled.folder.root)
    assert f"recipe.{name}" in str(caught.value)
    assert words in str(caught.value)


RECORD = {
    "attempt": (1.5, "attempt is 1.5: expected a whole number of 1 or more"),
    "index": (True, "index is True: expected a whole number"),
    "shard_bytes": (None, "shard_bytes is None: expected a whole number"),
    "environment": ({"device": 5}, "environment.device is 5: expected text"),
    "withdrawn": ([], r"withdrawn is \[\]: expected text"),
    "row_fields": (["path"], "expected sha256 once in it"),
    "rows": ([["a"]], r"rows\[0\] is \['a'\]: expected a list of 4"),
    "failures": ([{"path": "a"}], r"failures\[0\]\.code is missing: expected text"),
}


@pytest.mark.parametrize("name", RECORD)
def test_a_field_of_a_record_says_what_was_expected_and_what_came(filled, name):
    value, words = RECORD[name]
    edit_json(path_of(filled, "record"), **{name: value})
    (message,) = filled.snapshot.damaged_records.values()
    assert re.search(words, message)


# Heads


@pytest.fixture
def head(tmp_path):
    return shutil.copytree(HEADS / "logistic", tmp_path / "head")


HEAD = {
    "classes": [(5, "expected a list"), ([1, 2], "a class's name"), (["one", None], "a class's name"), (["one"], "two or more"),
                (["one", "one"], "two or more")],
    "seed": [("zero", "a whole number"), (None, "a whole number")],
    "weights": [(5, "text")],
    "reduction": [("evil", "one of avg")],
    "several": [("no", "true or false")],
    "parameters": [([], "an object"), ({"steps": 0}, "parameters.steps is 0: expected 1 or more"), ({"smallest": "small"}, "parameters.smallest")],
    "versions": [({"keras": 3}, "text")],
    "class_weight": [("heavy", "one of none, balanced")],
    "head": [(None, "a head's name")],
    "data": [(7, "text")],
    "model": [(5, "an object"), ({"file": 5, "sha256": "a" * 64}, "text"), ({"file": "head.skops", "sha256": 5}, "a SHA-256")],
    "output": [({}, "output.name is missing"), ([], "an object")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "words"), [(name, *case) for name, cases in HEAD.items() for case in cases], ids=str
)
def test_a_field_of_a_head_says_what_was_expected_and_what_came(head, name, value, words):
    edit_json(head / "head.json", **{name: value})
    with pytest.raises(DamagedHead) as caught:
        load_head(head)
    assert f"({name}" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("value", [10**400, -(10**400), 10**30, "x", None, True, [1], 1e308])
def test_a_parameter_of_a_head_may_be_anything_in_the_file(head, value):
    values = json.loads((head / "head.json").read_text())
    for name in values["parameters"]:
        edit_json(head / "head.json", parameters={**values["parameters"], name: value})
        assert_documented(lambda: load_head(head))


def test_a_parameter_that_a_later_version_added_has_its_default(head):
    values = json.loads((head / "head.json").read_text())
    del values["parameters"]["steps"]
    (head / "head.json").write_text(json.dumps(values))
    assert load_head(head).info.parameters["steps"] == 5


@pytest.mark.parametrize("name", RECIPE)
def test_a_recipe_of_a_head_is_checked_like_a_stores(head, name):
    value, words = RECIPE[name]
    values = json.loads((head / "head.json").read_text())
    values["recipe"][name] = value
    (head / "head.json").write_bytes(refingerprinted(json.dumps(values).encode()))
    with pytest.raises(DamagedHead) as caught:
        load_head(head)
    assert f"recipe.{name}" in str(caught.value)
    assert words in str(caught.value)


def test_a_text_of_any_length_is_cut_in_the_message(head):
    path = head / "head.json"
    for values in with_text_everywhere(json.loads(path.read_text()), "x" * 10_000):
        path.write_bytes(refingerprinted(json.dumps(values).encode()))
        with warnings.catch_warnings(action="ignore"):
            assert_documented(lambda: load_head(head).predict_features(np.zeros((1, 1280))))


@pytest.mark.parametrize("count", [20, MANY])
def test_a_head_with_a_mutated_head_json_is_loaded_or_refused(head, count):
    path = head / "head.json"
    values, rng = json.loads(path.read_bytes()), random.Random(0)
    for _ in range(count):
        path.write_bytes(refingerprinted(mutated_bytes(values, rng)))
        with warnings.catch_warnings(action="ignore"):
            assert_documented(lambda: load_head(head).predict_features(np.zeros((1, 1280))))
