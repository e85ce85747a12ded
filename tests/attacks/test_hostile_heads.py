"""Head folders that are cut, edited or made to do harm: refused before anything in them is used."""

import hashlib
import io
import json
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io

from fit import load_head
from fit.head_folder import read_results
from fit.model_file import dump_estimator
from store.errors import DamagedHead, UnsafeFile
from tests.attacks.hostile import little_memory, raised
from tests.store.build import edit_json

HEADS = Path(__file__).parent.parent / "data" / "0.5.0" / "heads"


@pytest.fixture
def head(tmp_path):
    return shutil.copytree(HEADS / "logistic", tmp_path / "head")


def put_model(folder, data, name="head.skops"):
    """Put another model into a head, its digest included."""
    (folder / name).write_bytes(data)
    edit_json(folder / "head.json", model={"file": name, "sha256": hashlib.sha256(data).hexdigest()})


def rezipped(data, change, **options):
    """A zip archive with its files as `change(name, content)` makes them."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(sink, "w", **options) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return sink.getvalue()


@pytest.mark.parametrize("name", ["head.json", "head.skops"])
def test_a_truncated_file_is_damage(head, name):
    data = (head / name).read_bytes()
    for length in [0, 1, *range(50, len(data), len(data) // 15), len(data) - 2]:
        (head / name).write_bytes(data[:length])
        error = raised(lambda: load_head(head))
        assert isinstance(error, DamagedHead), length


def test_a_truncated_model_with_the_right_digest_is_refused(head):
    data = (head / "head.skops").read_bytes()
    for length in range(0, len(data), len(data) // 10):
        put_model(head, data[:length])
        assert isinstance(raised(lambda: load_head(head)), DamagedHead | UnsafeFile)


@pytest.mark.parametrize(
    "name", ["../secret/head.skops", "/etc/passwd", "head.skops/../../x", "HEAD.SKOPS", "head.pkl", "", "head.skops\0"]
)
def test_a_model_outside_of_the_folder_is_refused(head, name):
    edit_json(head / "head.json", model={"file": name, "sha256": "a" * 64})
    with pytest.raises(UnsafeFile, match="names the model"):
        load_head(head)


@pytest.mark.parametrize("name", ["head.json", "head.skops"])
def test_a_pipe_is_never_waited_for(head, name):
    (head / name).unlink()
    os.mkfifo(head / name)
    assert raised(lambda: load_head(head)).exit_code in (2, 74)


@pytest.mark.parametrize("name", ["metrics.json", "predictions.parquet"])
@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"PAR1" + bytes(100) + b"PAR1", b"[]"])
def test_the_results_of_a_head_that_cannot_be_read_are_damage(head, name, data):
    (head / name).write_bytes(data)
    assert isinstance(raised(lambda: read_results(head)), DamagedHead)


def test_the_history_of_a_fit_that_diverged_is_read(head):
    edit_json(head / "metrics.json", history={"loss": [1.0, float("nan")]})
    assert load_head(head).metrics["history"]["loss"][0] == 1.0
    assert read_results(head).metrics["history"]["loss"][0] == 1.0


def test_a_skops_bomb_is_refused_before_it_unpacks(head):
    data = (head / "head.skops").read_bytes()
    bomb = rezipped(
        data,
        lambda name, content: content if name == "schema.json" else bytes(4 * 10**6),
        compression=zipfile.ZIP_DEFLATED,
    )
    put_model(head, bomb)
    with little_memory(20 * 10**6), pytest.raises(DamagedHead, match=r"unpacks to [0-9,]{9,}, expected about as many"):
        load_head(head)


def test_an_array_that_claims_to_be_huge_is_refused(head):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    data = (head / "head.skops").read_bytes()
    put_model(head, rezipped(data, lambda name, content: header.getvalue() if name.endswith(".npy") else content))
    with little_memory(), pytest.raises(DamagedHead, match="cannot be read"):
        load_head(head)


def test_a_deep_schema_is_refused(head):
    data = (head / "head.skops").read_bytes()
    deep = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    put_model(head, rezipped(data, lambda name, content: deep if name == "schema.json" else content))
    with pytest.raises(DamagedHead, match="cannot be read"):
        load_head(head)


def changed_estimator(head, change):
    """Put the head's own estimator into it again, after `change`."""
    estimator = load_head(head).model
    change(estimator)
    put_model(head, dump_estimator(estimator))


def arrays_of(value, seen=None):
    """Every array of numbers inside of an estimator."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        yield value
    elif hasattr(value, "__dict__"):
        yield from arrays_of(vars(value), seen)
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from arrays_of(inner, seen)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_numbers_are_refused(head, bad):
    def spoil(estimator):
        for array in arrays_of(estimator):
            array[...] = bad

    changed_estimator(head, spoil)
    with warnings.catch_warnings(action="ignore"), pytest.raises(DamagedHead, match=r"predict.*: fit the head again"):
        load_head(head)


def test_a_head_of_other_classes_than_its_model_has_is_refused(head):
    edit_json(head / "head.json", classes=["one", "two", "zero"])
    with pytest.raises(DamagedHead, match="expected 3 probabilities"):
        load_head(head)


def test_a_type_of_another_scikit_learn_is_refused_with_both_versions(head):
    edit_json(
        head / "head.json",
        versions={**json.loads((head / "head.json").read_text())["versions"], "scikit-learn": "1.2.3"},
    )
    put_model(head, skops.io.dumps(shutil.rmtree))
    with pytest.raises(
        UnsafeFile, match=r"shutil\.rmtree.* fitted with scikit-learn 1\.2\.3, and here is .*install 1\.2\.3"
    ):
        load_head(head)
