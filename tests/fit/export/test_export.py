"""One model for every runtime, on the default backbone's real weights at a small size; one of each family in the slow survey."""

import errno
import json
import multiprocessing
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import keras
import numpy as np
import pytest

import fit.export.base
from extract import extract as run_extract
from extract.backbones.load import load_network
from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights
from extract.runtimes.device import processor_precisions
from extract.runtimes.model import feature_model
from fit import fit_head
from fit.export.base import require_export_place, require_runnable
from fit.export.export import export_head, sample_pixels
from fit.export.targets import TARGETS
from fit.export.whole_model import whole_model
from fit.heads.table import HEADS
from store import open_store
from store.errors import EnvironmentFailure, UsageError
from tests.families import smallest_of_each_family
from tests.on_demand import OnDemand

# Converters warn of their own and of TensorFlow's future.
pytestmark = pytest.mark.filterwarnings("ignore")


QUICK = {
    "dense": {"epochs": 3},
    "conv": {"epochs": 2, "kernel": 1, "filters": 8},
    "cnn": {"epochs": 1, "filters": "8", "activation": "prelu"},
    "dropout_dense": {"epochs": 1, "units": 16},
    "se": {"epochs": 1, "units": 16},
    "mobilenet_dense": {"epochs": 1},
}
NETWORKS = tuple(name for name, kind in HEADS.items() if kind.library == "keras" and not kind.continues)
EXPORTED = [
    pytest.param(name, to, marks=[] if (name, to) == ("dense", "onnx") else [pytest.mark.slow])
    for name in NETWORKS
    for to in TARGETS
]


def place(folder, to):
    return folder / f"model{TARGETS[to].ending}"


@pytest.fixture(scope="module")
def lite0(tmp_path_factory, colors):
    folder = tmp_path_factory.mktemp("lite0")
    run_extract(colors, out=folder / "store", image_size=(64, 64))
    return folder / "store"


@pytest.fixture(scope="module")
def heads(lite0):
    return OnDemand(lambda name: fit_head(lite0, name, parameters=QUICK.get(name, {})))


@pytest.mark.parametrize("to", [pytest.param(to, marks=[pytest.mark.slow] * (to != "onnx")) for to in TARGETS])
def test_every_target_agrees_with_predict(to, heads, tmp_path):
    head = heads["logistic"]
    out = place(tmp_path, to)
    assert export_head(head, out, to) <= 1e-3
    pixels = sample_pixels((64, 64))
    assert pixels.shape == (20, 64, 64, 3)
    found = np.asarray(TARGETS[to].run(out, pixels))
    assert np.abs(found - head.predict_pixels(pixels)).max() <= 1e-3
    one = np.asarray(TARGETS[to].run(out, pixels[:1]))
    np.testing.assert_allclose(one, found[:1], atol=1e-5)
    described = json.loads(out.with_name(out.name + ".json").read_text())
    assert described["classes"] == ["blue", "green", "red"]
    assert described["recipe"]["image_size"] == [64, 64]


@pytest.mark.slow
@pytest.mark.skipif("bfloat16" not in processor_precisions(), reason="this processor has no bfloat16")
def test_a_head_on_bfloat16_features_is_exported_in_float32(colors, tmp_path):
    run_extract(colors, out=tmp_path / "store", image_size=(64, 64), precision="bfloat16")
    head = fit_head(tmp_path / "store", "logistic")
    assert export_head(head, tmp_path / "model.keras", "keras") <= 1e-3


@pytest.mark.slow
def test_a_head_on_the_pixels_themselves(colors, tmp_path):
    run_extract(colors, out=tmp_path / "store", backbone="pixels", image_size=(16, 16))
    head = fit_head(tmp_path / "store", "logistic", reduce="flatten")
    assert export_head(head, tmp_path / "model.onnx", "onnx") <= 1e-3


@pytest.mark.parametrize(("name", "to"), EXPORTED)
def test_keras_heads(name, to, heads, tmp_path):
    assert export_head(heads[name], place(tmp_path, to), to) <= 1e-3


@pytest.mark.parametrize(
    "name",
    [
        "logistic",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("linear", "sgd", "ridge", "linear_svm", "dense")),
    ],
)
def test_two_classes(name, lite0, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\n" + "".join(f"{c}/{n:03d}.png,{c}\n" for c in ("red", "blue") for n in range(20)))
    head = fit_head(lite0, name, labels=labels, parameters={"epochs": 2} if name == "dense" else {})
    assert export_head(head, tmp_path / "model.keras", "keras") <= 1e-3


@pytest.mark.slow
def test_a_keras_export_needs_none_of_our_code(heads, tmp_path):
    export_head(heads["dense"], tmp_path / "model.keras", "keras")
    np.save(tmp_path / "pixels.npy", sample_pixels((64, 64)))
    script = (
        "import sys, os; sys.path[:] = [p for p in sys.path if p]\n"
        "import importlib.abc\n"
        "class Deny(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in ('extract', 'fit', 'store', 'cli'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Deny())\n"
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras')\n"
        "np.save('found.npy', model.predict(np.load('pixels.npy'), verbose=0)); os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "found.npy"), heads["dense"].predict_pixels(sample_pixels((64, 64))), atol=1e-3
    )


@pytest.mark.parametrize("backbone", ["vgg16", "densenet121", "mobilenet", "efficientnet_b0"])
def test_preprocessing_in_plain_layers_is_that_of_the_runtime(backbone):
    known = get_backbone(backbone)
    network, _ = load_network(known, Weights.parse("random"), (32, 32))
    layer = next(layer.name for layer in network.layers if len(layer.output.shape) == 4 and layer.count_params() > 100)
    reference = feature_model(network, (layer,), "avg", known.preprocessing, "float32")
    identity = keras.Sequential([keras.Input(reference.outputs[0].shape[1:])])
    model = whole_model(network, layer, "avg", known.preprocessing, identity)
    pixels = sample_pixels((32, 32))
    expected, _ = reference.predict_on_batch(pixels)
    np.testing.assert_allclose(model.predict_on_batch(pixels), expected, atol=1e-5 * np.abs(expected).max())


def test_what_cannot_be_written_as_layers_is_refused(heads, tmp_path):
    with pytest.raises(
        UsageError,
        match=r"the head forest cannot be written as layers.*\(logistic, linear, ridge, linear_svm, sgd\) can",
    ):
        export_head(heads["forest"], tmp_path / "model.onnx", "onnx")


@pytest.mark.parametrize(
    ("to", "name", "words"),
    [
        ("onx", "model.onnx", "unknown target"),
        ("onnx", "model.pb", "a file ending in .onnx"),
        ("saved_model", "model.onnx", "a folder, without an ending"),
        ("keras", "there.keras", "exists: choose another"),
    ],
)
def test_wrong_requests_are_refused(to, name, words, heads, tmp_path):
    (tmp_path / "there.keras").write_text("something")
    with pytest.raises(UsageError, match=words):
        export_head(heads["logistic"], tmp_path / name, to)
    assert (tmp_path / "there.keras").read_text() == "something"


def test_a_missing_extra_is_named(heads, tmp_path, monkeypatch):
    monkeypatch.setattr(fit.export.base.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'stillframe\[onnx\]'"):
        export_head(heads["logistic"], tmp_path / "model.onnx", "onnx")


def test_a_folder_of_other_things_is_never_replaced(heads, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(UsageError, match="other things"):
        export_head(heads["logistic"], tmp_path / "photos", "saved_model", force=True)


def test_what_a_target_can_do_is_said_by_its_fields_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(fit.export.base.keras.backend, "backend", lambda: "jax")
    require_runnable(replace(TARGETS["keras"], name="another"))
    with pytest.raises(UsageError, match="--to onnx goes through TensorFlow, and KERAS_BACKEND is jax"):
        require_runnable(TARGETS["onnx"])


@pytest.mark.parametrize(("to", "replaced"), [("saved_model", True), ("onnx", False)])
def test_only_a_target_that_writes_folders_replaces_one(to, replaced, tmp_path):
    out = place(tmp_path, to)
    out.mkdir()
    (out / "saved_model.pb").write_bytes(b"model")
    with nullcontext() if replaced else pytest.raises(UsageError, match="is a folder with other things in it"):
        require_export_place(TARGETS[to], out, force=True)


@pytest.mark.parametrize(("to", "beside"), [("onnx", "model.onnx.json"), ("openvino", "model.bin")])
def test_a_file_beside_the_model_is_replaced_only_with_force(to, beside, heads, tmp_path, monkeypatch):
    monkeypatch.setitem(TARGETS, to, written_quickly(TARGETS[to]))
    (tmp_path / beside).write_text("somebody's")
    with pytest.raises(UsageError, match=rf"{beside} exists: choose another --out, or replace it with --force"):
        export_head(heads["logistic"], place(tmp_path, to), to)
    assert [path.name for path in tmp_path.iterdir()] == [beside]
    assert (tmp_path / beside).read_text() == "somebody's"
    export_head(heads["logistic"], place(tmp_path, to), to, force=True)
    assert (tmp_path / beside).read_text() != "somebody's"
    assert json.loads((tmp_path / f"{place(tmp_path, to).name}.json").read_text())["head"] == "logistic"
    (tmp_path / beside).unlink()
    (tmp_path / beside / "photos").mkdir(parents=True)
    with pytest.raises(UsageError, match=f"{beside} is a folder, where a file belongs"):
        export_head(heads["logistic"], place(tmp_path, to), to, force=True)
    assert (tmp_path / beside / "photos").is_dir()


def test_classes_named_as_columns_keep_their_place_in_an_export(lite0, tmp_path, monkeypatch):
    target = written_quickly(TARGETS["onnx"])
    monkeypatch.setitem(TARGETS, "onnx", target)
    names = {"blue": "error", "green": "class:error", "red": "path"}
    paths = open_store(lite0).images()["path"].to_pylist()
    lines = [f"{path},{names[path.split('/')[0]]}" for path in paths]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    head = fit_head(lite0, labels=tmp_path / "labels.csv")
    pixels = sample_pixels((64, 64))[:2]
    assert export_head(head, tmp_path / "model.onnx", "onnx") <= 1e-3
    described = json.loads((tmp_path / "model.onnx.json").read_text())
    assert described["classes"] == ["class:error", "error", "path"] == list(head.classes)
    plain = fit_head(lite0).predict_pixels(pixels)  # blue, green, red
    np.testing.assert_allclose(target.run(tmp_path / "model.onnx", pixels), plain[:, [1, 0, 2]], atol=0.02)


def written_quickly(target):
    """A target that writes files of its endings without a converter, and gives what `fit predict` does."""

    def write(model, path):
        for ending in (target.ending, *target.beside):
            path.with_suffix(ending).write_bytes(b"model")
        written.append(model)

    written = []
    return replace(target, modules=(), write=write, run=lambda path, pixels: written[-1].predict_on_batch(pixels))


@pytest.mark.slow
def test_an_export_that_differs_or_breaks_is_not_kept(heads, tmp_path, monkeypatch):
    target = TARGETS["keras"]
    off = type(target)(**{**vars(target), "run": lambda path, pixels: target.run(path, pixels) + 0.01})
    monkeypatch.setitem(TARGETS, "keras", off)
    with pytest.raises(UsageError, match=r"differs from `fit predict` by 0\.01"):
        export_head(heads["logistic"], tmp_path / "model.keras", "keras")

    def fail(model, path):
        path.write_bytes(b"half")
        raise RuntimeError("no such operation\nin this graph")

    monkeypatch.setitem(TARGETS, "keras", type(target)(**{**vars(target), "write": fail}))
    with pytest.raises(UsageError, match="no such operation in this graph"):
        export_head(heads["logistic"], tmp_path / "model.keras", "keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("c++: No space left on device\n in"),
        RuntimeError("basic_ios::clear: iostream error"),
    ],
)
def test_a_full_disk_is_no_fault_of_the_head(error, heads, tmp_path, monkeypatch):
    def fail(model, path):
        raise error

    monkeypatch.setitem(TARGETS, "keras", replace(TARGETS["keras"], write=fail))
    with pytest.raises(
        EnvironmentFailure,
        match=r"cannot write .*: (No space left on device|the disk may be full); fix that, then export again",
    ):
        export_head(heads["logistic"], tmp_path / "model.keras", "keras")
    assert list(tmp_path.iterdir()) == []


def export_everywhere(backbone, folder):
    """Write a network to every target, run what was written, and write down the differences or the errors as JSON."""
    known = get_backbone(backbone)
    size = (96, 96) if known.size[0] >= 96 else known.size
    network, _ = load_network(known, Weights.parse("random"), size)
    tensor = keras.Input(network.get_layer(known.layer).output.shape[1:])
    pooled = keras.layers.GlobalAveragePooling2D()(tensor)
    head = keras.Model(tensor, keras.layers.Dense(5, "softmax")(pooled))
    model = whole_model(network, known.layer, "none", known.preprocessing, head)
    pixels = sample_pixels(size)[:4]
    expected = model.predict_on_batch(pixels)
    results = {}
    for to, target in TARGETS.items():
        out = place(folder, to)
        try:
            target.write(model, out)
            results[to] = float(np.abs(np.asarray(target.run(out, pixels)) - expected).max())
        except Exception as error:
            results[to] = f"{type(error).__name__}: {str(error)[:60]!r}"
    (folder / "results.json").write_text(json.dumps(results))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", smallest_of_each_family())
def test_every_family_to_every_target(backbone, tmp_path):
    """A target that a network cannot be written for says so by name; one that can agrees."""
    # A process for each network: the converters keep what they converted, tens of GB over all of them.
    child = multiprocessing.get_context("spawn").Process(target=export_everywhere, args=(backbone, tmp_path))
    child.start()
    child.join()
    results = json.loads((tmp_path / "results.json").read_text())
    print(backbone, results)
    assert all(results[to] <= 1e-3 for to in ("keras", "saved_model", "litert", "openvino"))
    shutil.rmtree(tmp_path)
