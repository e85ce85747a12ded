import errno
import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import skops.io
from PIL import Image
from sklearn.preprocessing import FunctionTransformer

from fit import fit_head, load_head
from fit.commands import app as fit_app
from fit.head_folder import read_results
from fit.heads.table import HEADS
from fit.predictions import class_column, class_columns, write_table
from store.command_line import run_app
from store.errors import DamagedHead, EnvironmentFailure, PrecisionMissing, RecipeMismatch, UnsafeFile, UsageError
from tests.fit.test_train import ANYWHERE, QUICK


@pytest.fixture
def saved(color_store, tmp_path):
    return fit_head(color_store).save(tmp_path / "heads" / "logistic")


@pytest.mark.parametrize("name", ANYWHERE)
def test_a_head_is_the_same_after_loading(name, color_store, tmp_path):
    head = fit_head(color_store, name, parameters=QUICK.get(name, {}))
    loaded = load_head(head.save(tmp_path / name))
    X, _ = color_store.arrays()
    assert np.array_equal(loaded.predict_features(X), head.predict_features(X))
    assert loaded.info == head.info
    assert loaded.metrics == json.loads(json.dumps(head.metrics))
    assert isinstance(loaded.model, keras.Model) == (HEADS[name].library == "keras")


def test_the_folder_holds_what_the_contract_says(saved, color_store):
    assert {path.name for path in saved.iterdir()} == {
        "head.json",
        "head.skops",
        "metrics.json",
        "predictions.parquet",
        "experiment.json",
    }
    described = json.loads((saved / "head.json").read_text())
    assert described["fingerprint"] == color_store.fingerprint
    assert described["classes"] == ["blue", "green", "red"]
    assert described["weights"] == "random:0"
    assert set(described["versions"]) == {"stillframe", "numpy", "scikit-learn", "keras"}
    assert len(pq.read_table(saved / "predictions.parquet")) == 48


def test_a_folder_whose_name_is_not_utf8(color_store, tmp_path):
    folder = tmp_path / os.fsdecode(b"by\xfftes")
    head = load_head(fit_head(color_store).save(folder / "head"))
    table = head.predict_features(color_store.arrays()[0][:1])
    assert len(table) == 1
    assert len(read_results(folder / "head").predictions) == 48
    for name in ("found.csv", "found.parquet"):
        write_table(pa.table({"path": ["a"]}), folder / name)
        assert (folder / name).is_file()


@pytest.mark.parametrize("name", ["logistic", "forest", "dense"])
def test_images_get_what_their_cached_features_get(name, color_store, colors):
    head = fit_head(color_store, name, parameters=QUICK.get(name, {}))
    X, rows = color_store.arrays()
    table = head.predict([colors / path for path in reversed(rows["path"].to_pylist())])
    found = np.array([table[label].to_numpy() for label in head.classes]).T[::-1]
    np.testing.assert_allclose(found, head.predict_features(X), atol=1e-6)


def test_predictions_are_in_the_order_given_and_bad_images_are_rows(saved, stub, colors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(colors / "red", tmp_path / "red")
    (tmp_path / "broken.png").write_bytes((colors / "red" / "000.png").read_bytes()[:60])
    odd = "näme, with 'quotes'\n.png"
    shutil.copy(colors / "blue" / "000.png", tmp_path / odd)
    table = load_head(saved).predict(["red", "broken.png", odd, "gone.png", "red/00[01].png", "red/001.png"])
    paths = table["path"].to_pylist()
    assert paths[:20] == [f"red/{number:03d}.png" for number in range(20)]
    assert paths[20:] == ["broken.png", odd, "gone.png", "red/000.png", "red/001.png", "red/001.png"]
    errors = table["error"].to_pylist()
    assert [number for number, error in enumerate(errors) if error] == [20, 22]
    assert errors[22].startswith("missing: ")
    assert table["predicted"].to_pylist()[20] is None
    assert table["blue"].to_pylist()[20] is None
    assert table["predicted"].to_pylist()[21] == "blue"
    assert table.column_names == ["path", "predicted", "probability", "blue", "green", "red", "error"]
    for name in ("out.csv", "deep/out.parquet"):
        write_table(table, tmp_path / name)
    assert (
        len(pyarrow.csv.read_csv(tmp_path / "out.csv", parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)))
        == 26
    )
    assert pq.read_table(tmp_path / "deep" / "out.parquet").equals(table)
    with pytest.raises(UsageError, match=r"expected a file ending in \.csv or \.parquet"):
        write_table(table, tmp_path / "out.txt")


def test_no_such_images(saved, stub, tmp_path):
    with pytest.raises(UsageError, match="no file matches"):
        load_head(saved).predict(str(tmp_path / "*.png"))
    with pytest.raises(UsageError, match=r"there is no .*a.png, nor are the other files named: expected image files"):
        load_head(saved).predict([tmp_path / "a.png", tmp_path / "b.png"])


def test_images_in_memory_get_what_their_files_get(saved, stub, colors, tmp_path):
    paths = sorted((colors / "red").iterdir())[:4]
    turned = Image.open(paths[0]).transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    transparent = Image.open(paths[1]).convert("RGBA")
    transparent.putalpha(Image.linear_gradient("L").resize(transparent.size))
    transparent.save(tmp_path / "transparent.png")
    files = [*paths, tmp_path / "turned.png", tmp_path / "transparent.png"]
    head = load_head(saved)
    expected = head.predict(files)
    given = [Image.open(files[0]), np.asarray(Image.open(files[1])), files[2], *map(Image.open, files[3:])]
    found = head.predict(given)
    assert found["path"].to_pylist() == [
        "<image 0>",
        "<image 1>",
        str(files[2]),
        *(f"<image {at}>" for at in (3, 4, 5)),
    ]
    assert found.drop_columns("path").equals(expected.drop_columns("path"))
    assert (
        head.predict(np.stack([np.asarray(Image.open(path)) for path in paths]))
        .slice(0, 2)
        .drop_columns("path")
        .equals(expected.slice(0, 2).drop_columns("path"))
    )
    assert head.predict(Image.open(paths[0]).convert("CMYK"))["error"].null_count == 1


def test_an_image_in_memory_that_cannot_be_read_is_a_row(saved, stub, colors, tmp_path):
    (tmp_path / "half.png").write_bytes((colors / "red" / "000.png").read_bytes()[:600])
    with Image.open(tmp_path / "half.png") as half:
        table = load_head(saved).predict([half, colors / "red" / "000.png"])
    assert table["error"].to_pylist()[0].startswith("corrupt: Pillow cannot read it")
    assert table["error"].to_pylist()[1] is None


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), 7])
def test_what_is_not_an_image_is_refused(saved, image):
    with pytest.raises(UsageError, match=r"expected a path, a PIL image, or an array of uint8 and shape"):
        load_head(saved).predict([image])


def test_other_weights_are_refused(saved, stub, monkeypatch, colors):
    import extract.extractor
    from tests.stub import StubRuntime

    monkeypatch.setattr(extract.extractor, "load_runtime", lambda *_, **__: (StubRuntime(), "6" * 64))
    with pytest.raises(RecipeMismatch, match="--weights FILE"):
        load_head(saved).predict(colors)


def test_a_precision_that_this_machine_lacks_is_said_to_be_that(saved, monkeypatch, colors):
    import extract.extractor
    from extract.runtimes.device import precision_missing

    def lacking(*_, **__):
        raise precision_missing("this processor", "bfloat16", ("float32",))

    monkeypatch.setattr(extract.extractor, "load_runtime", lacking)
    with pytest.raises(PrecisionMissing, match="does not compute in bfloat16"):
        load_head(saved).predict(colors)


def test_features_of_another_shape_are_refused(saved):
    with pytest.raises(UsageError, match=r"got rows of shape \(3,\)"):
        load_head(saved).predict_features(np.zeros((2, 3)))


def test_a_class_may_be_named_as_a_column(color_store, tmp_path, stub, colors):
    words = {"red": "error", "green": "path", "blue": "x"}
    paths = color_store.table()["path"].to_pylist()
    (tmp_path / "labels.csv").write_text(
        "path,label\n" + "".join(f"{path},{words[path.split('/')[0]]}\n" for path in paths)
    )
    table = fit_head(color_store, labels=tmp_path / "labels.csv").predict(colors / "red")
    assert table.column_names == ["path", "predicted", "probability", "class:error", "class:path", "x", "error"]
    assert table["error"].null_count == 20


def test_no_two_columns_have_one_name():
    names = ("error", "class:error", "class:class:error", "class:x", "x", "path", "class:")
    columns = [class_column(name) for name in names]
    assert columns[3:5] == ["class:x", "x"]
    assert len(set(columns)) == len(names)
    values = [np.array([float(number)]) for number in range(len(names))]
    assert class_columns(pa.table(dict(zip(columns, values, strict=True))), names).tolist() == [list(range(7))]
    earlier = pa.table({"class:error": [0.5], "x": [0.25]})
    assert class_columns(earlier, ("class:error", "x")).tolist() == [[0.5, 0.25]]


def test_a_head_is_replaced_only_when_asked_and_nothing_else_ever(color_store, saved, tmp_path):
    head = fit_head(color_store, "centroid")
    with pytest.raises(UsageError, match="replace it with --force"):
        head.save(saved)
    head.save(saved, force=True)
    assert load_head(saved).info.head == "centroid"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(UsageError, match="exists and is not a head"):
        head.save(tmp_path / "photos", force=True)
    assert (tmp_path / "photos" / "cat.png").read_bytes() == b"cat"
    assert not [path for path in saved.parent.iterdir() if path.name.startswith(".")]


class Bomb:
    """Says so if anything ever runs it."""

    def __reduce__(self):
        return (pytest.fail, ("code of a file was run",))


def test_a_head_that_cannot_be_replaced_stays(saved, monkeypatch):
    head, before = load_head(saved), {path.name: path.read_bytes() for path in saved.iterdir()}
    rename = Path.rename

    def failing(path, target):
        if path.suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(EnvironmentFailure, match="Input/output error"):
        head.save(saved, force=True)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert list(saved.parent.iterdir()) == [saved]


def rewrite(folder, name, data, **changes):
    """Put another model into a head's folder, digest included, as someone would who means harm."""
    import hashlib

    (folder / name).write_bytes(data)
    described = json.loads((folder / "head.json").read_text())
    described["model"] = {"file": name, "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "head.json").write_text(json.dumps({**described, **changes}))


def test_a_pickle_is_never_loaded(saved, tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsafeFile, match="never loaded"):
        load_head(tmp_path / "model.pkl")
    rewrite(saved, "head.skops", pickle.dumps(Bomb()))
    with pytest.raises(UnsafeFile, match="a pickle"):
        load_head(saved)
    rewrite(saved, "model.pkl", pickle.dumps(Bomb()))
    with pytest.raises(UnsafeFile, match="names the model"):
        load_head(saved)


def test_a_lambda_is_never_loaded(saved, tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(abs)]).save(tmp_path / "model.keras")
    with pytest.raises(UnsafeFile, match="keras among them"):
        load_head(tmp_path / "model.keras")
    rewrite(saved, "model.keras", (tmp_path / "model.keras").read_bytes())
    with pytest.raises(UnsafeFile):
        load_head(saved)
    rewrite(
        saved,
        "head.weights.h5",
        (tmp_path / "model.keras").read_bytes(),
        head="dense",
        parameters={name.name: name.default for name in HEADS["dense"].parameters},
    )
    with pytest.raises(DamagedHead, match="does not hold this head's weights"):
        load_head(saved)


def test_a_skops_file_with_another_type_is_never_loaded(saved):
    rewrite(saved, "head.skops", skops.io.dumps(FunctionTransformer(shutil.rmtree)))
    with pytest.raises(UnsafeFile, match=r"shutil\.rmtree"):
        load_head(saved)


def test_a_folder_never_names_code(saved):
    described = json.loads((saved / "head.json").read_text())
    (saved / "head.json").write_text(json.dumps({**described, "head": "os:system"}))
    with pytest.raises(UsageError, match="a head's folder alone never names code to run"):
        load_head(saved)


def damage_bytes(folder):
    data = bytearray((folder / "head.skops").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "head.skops").write_bytes(data)


def edit(folder, **changes):
    described = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps({**described, **changes}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_bytes, "is not the file that was written"),
        (lambda folder: (folder / "head.skops").unlink(), "is missing"),
        (lambda folder: (folder / "head.json").write_text("{"), "is not valid JSON"),
        (lambda folder: edit(folder, fingerprint="0" * 64), "was edited"),
        (lambda folder: edit(folder, recipe={}), "missing or invalid"),
        (lambda folder: edit(folder, color="red"), "missing or invalid"),
        (lambda folder: rewrite(folder, "head.skops", b"PK\5\6" + bytes(18)), "cannot be read"),
    ],
)
def test_a_damaged_folder_is_said_to_be(saved, damage, words):
    damage(saved)
    with pytest.raises(DamagedHead, match=words):
        load_head(saved)


def test_what_is_no_head(tmp_path, colors):
    with pytest.raises(UsageError, match="there is no such folder"):
        load_head(tmp_path / "nothing")
    with pytest.raises(UsageError, match="is not a head"):
        load_head(colors)


def test_a_folder_that_may_not_be_read_is_the_environments_fault(saved, monkeypatch, capsys):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "is_file", refuse)
    monkeypatch.setattr(sys, "argv", ["fit", "report", str(saved)])
    assert run_app(fit_app, "fit") == 74
    assert capsys.readouterr().err == (
        f"error: cannot read {saved}/head.json: Permission denied; check the folder's permissions, "
        "then run the same command again\n"
    )


def test_a_later_format_is_refused(saved):
    edit(saved, version=3)
    with pytest.raises(UsageError, match="format version 3"):
        load_head(saved)


def test_a_damaged_weights_file(color_store, tmp_path):
    folder = fit_head(color_store, "dense", parameters={"epochs": 1}).save(tmp_path / "dense")
    rewrite(folder, "head.weights.h5", b"not HDF5")
    with pytest.raises(DamagedHead, match="does not hold this head's weights"):
        load_head(folder)


def test_weights_that_are_not_numbers_are_refused(color_store, tmp_path):
    head = fit_head(color_store, "dense", parameters={"epochs": 1})
    head.model.set_weights([np.full_like(weights, np.nan) for weights in head.model.get_weights()])
    with pytest.raises(DamagedHead, match="has weights that are NaN or infinite"):
        load_head(head.save(tmp_path / "dense"))
