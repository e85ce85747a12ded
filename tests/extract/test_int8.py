"""--precision int8, from images to predictions, with a small real network; skipped where it cannot be computed."""

import hashlib
import importlib.util
import io
import json
import logging
import pickle
import shutil
import struct
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import cli
import extract.resolve as resolve_module
import extract.runtimes.load as load
import extract.runtimes.load_float32 as load_float32
import extract.runtimes.quantized as quantized
from extract import extract as run_extract
from extract.calibration import candidates, cosine
from extract.dry_run import dry_run
from extract.planning import plan_run
from extract.request import RunOptions
from extract.resolve import resolve, resolve_store
from extract.run import Job, compute, run
from extract.runtimes.device import processor_precisions
from extract.runtimes.quantized import quantized_runtime
from extract.sources.listing import list_data
from fit import fit_head, load_head
from store import open_store
from store.errors import DamagedStore, EnvironmentFailure, PrecisionMissing, RecipeMismatch, UsageError
from store.files.opening import open_files
from store.maintenance import verify
from store.progress import SILENT, Reporter
from store.quantization import network_file
from store.writer import StoreWriter
from tests.extract.backbones.networks import FOLDER
from tests.store.build import flip_bit

openvino = pytest.importorskip("openvino")
opset = pytest.importorskip("openvino.opset15")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nncf") is None or "int8" not in processor_precisions(),
    reason="needs NNCF (`pip install 'stillframe[int8]'`) and a processor with VNNI or AMX",
)

OPTIONS = {"backbone": "squeezenet", "weights": "random", "image_size": (48, 48), "pooling": "avg", "precision": "int8"}


def make_blots(folder, count, start=0):
    """Images with large shapes, as photographs have, in two classes."""
    for number in range(start, start + count):
        blot = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        blot[..., number % 2] //= 4
        path = folder / ("red", "green")[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(blot).resize((48, 48), Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory, conversions):
    """A folder of 30 images and a store of them, which no test changes."""
    root = tmp_path_factory.mktemp("int8")
    make_blots(root / "data", 30)
    (root / "cache").mkdir()
    (root / "cache" / "openvino").symlink_to(conversions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STILLFRAME_CACHE", str(root / "cache"))
        run_extract(root / "data", out=root / "store", **OPTIONS)
    return root


@pytest.fixture(autouse=True)
def remembered(made, own_cache):
    """The digest of the weights is known, so that Keras need not be loaded."""
    shutil.copy(made / "cache" / "digests.json", own_cache)


@pytest.fixture
def copied(made, tmp_path, monkeypatch):
    """A copy of both, on a machine without NNCF."""
    shutil.copytree(made / "data", tmp_path / "data")
    shutil.copytree(made / "store", tmp_path / "store")
    monkeypatch.setitem(sys.modules, "nncf", None)
    return tmp_path


def recipe_of(folder):
    return open_store(folder / "store").recipe


def test_what_int8_costs_is_stated_truthfully(made, tmp_path):
    """The cosines that store.json states are those of the features that two runs store."""
    run_extract(made / "data", out=tmp_path / "exact", **{**OPTIONS, "precision": "float32"})
    (exact, rows), (quantized, same) = (open_store(store).arrays() for store in (tmp_path / "exact", made / "store"))
    assert rows["path"].equals(same["path"])
    held_out = candidates(list_data(made / "data", (), ()))[4::5]
    places = [rows["path"].to_pylist().index(path) for path in held_out]
    cosines = [cosine(exact[at], quantized[at]) for at in places]
    (stated,) = open_store(made / "store").snapshot.info.agreements
    assert stated.images == len(held_out) == 6
    assert stated.median == pytest.approx(np.median(cosines), abs=2e-6)
    assert stated.lowest == pytest.approx(min(cosines), abs=2e-6)
    assert 0.9 < stated.lowest < stated.median < 1 - 1e-6, "int8 is near float32, and not the same"


def test_the_same_images_give_the_same_network(made, tmp_path):
    run_extract(made / "data", out=tmp_path / "store", **OPTIONS)
    assert recipe_of(tmp_path) == recipe_of(made)


def test_weights_and_activations_have_8_bits(made):
    with zipfile.ZipFile(made / "store" / network_file(recipe_of(made).quantization.network)) as files:
        model = files.read("model.xml").decode()
    assert model.count('type="Convolution"') == model.count('element_type="i8"') > 20
    assert model.count('type="FakeQuantize"') > 20


def test_a_later_run_computes_new_images_with_the_very_same_network(copied, own_cache):
    (own_cache / "digests.json").unlink()  # as on a machine that has never loaded the weights
    before = open_store(copied / "store")
    rows = dict(zip(before.images()["path"].to_pylist(), before.arrays()[0], strict=True))
    make_blots(copied / "data", 12, start=100)
    result = run_extract(copied / "data", out=copied / "store", **OPTIONS)
    assert (result.computed, result.reused) == (12, 30)
    assert recipe_of(copied) == before.recipe
    run_extract(copied / "data", out=copied / "store", **OPTIONS, exclude=("01*",), prune=True)
    copies = shutil.copytree(copied / "data" / "red", copied / "data" / "blue")  # the same bytes, computed or copied
    run_extract(copied / "data", out=copied / "store", **OPTIONS)
    after = open_store(copied / "store")
    found = dict(zip(after.images()["path"].to_pylist(), after.arrays()[0], strict=True))
    assert len(found) == 42 + len(list(copies.iterdir()))
    for path, feature in rows.items():
        np.testing.assert_array_equal(found[path], feature)
    assert verify(after.folder).sound


def test_a_worker_on_another_machine_loads_the_network_of_the_store(copied):
    make_blots(copied / "data", 2, start=100)
    request = resolve(RunOptions(copied / "data", copied / "store", **OPTIONS))
    listing = list_data(copied / "data", (), ())
    job = Job(request, plan_run(request, listing, resolve_store(request, listing, SILENT)))
    worker = pickle.loads(pickle.dumps(job.worker))
    worker.require_place()
    runtime = worker.load()
    position = 7
    x, rows = open_store(copied / "store").arrays()
    pixels = np.asarray(Image.open(copied / "data" / rows["path"][position].as_py()).convert("RGB"))
    np.testing.assert_array_equal(runtime.start([pixels]).result().tensors[0][0], x[position])
    (copied / "store" / network_file(recipe_of(copied).quantization.network)).unlink()
    with pytest.raises(DamagedStore, match="is missing: put it back"):
        worker.load()


def test_of_two_parts_that_begin_at_once_the_second_computes_with_the_network_of_the_first(tmp_path):
    """Also where its own is another one: here its listing has images that the first did not see."""
    data, options = tmp_path / "data", {**OPTIONS, "shard_rows": 12}
    make_blots(data, 24)
    alone = open_store(run_extract(data, out=tmp_path / "alone", **options).store)
    listing = list_data(data, (), ())
    requests, resolved = [], []
    for part in ("0/2", "1/2"):
        request = resolve(RunOptions(data, tmp_path / "store", **options, part=part))
        requests.append(request)
        resolved.append(resolve_store(request, list_data(data, (), ()), SILENT))
        make_blots(data, 6, start=100)
    networks = [one.info.recipe.quantization.network for one in resolved]
    assert networks[0] != networks[1]
    planned = [plan_run(request, listing, one) for request, one in zip(requests, resolved, strict=True)]
    assert {one.resolved.info.recipe.quantization.network for one in planned} == {networks[0]}
    assert planned[1].resolved.loaded is None
    for request, plan in zip(requests, planned, strict=True):
        (computed,) = compute([Job(request, plan)], SILENT)
        assert computed.images == 12
    assert recipe_of(tmp_path) == alone.recipe
    np.testing.assert_array_equal(open_store(tmp_path / "store").arrays()[0], alone.arrays()[0])


def test_a_dry_run_does_not_quantize(made, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(quantized, "quantize", None)
    monkeypatch.setattr(resolve_module, "read_calibration", None)
    plan = dry_run(RunOptions(made / "data", tmp_path / "store", **OPTIONS), Reporter(lines.append))
    assert plan.outputs == open_store(made / "store").snapshot.info.outputs
    assert (plan.to_compute, plan.estimate.images) == (30, 30)
    assert any("computes the sample in float32" in line for line in lines)
    assert not (tmp_path / "store").exists()


def test_a_dry_run_refuses_what_the_run_would_refuse(tmp_path):
    make_blots(tmp_path / "data", 19)
    options = RunOptions(tmp_path / "data", tmp_path / "store", **OPTIONS)
    for attempt in (dry_run, run):
        with pytest.raises(UsageError, match=r"needs 20 images .* and 19 can be decoded"):
            attempt(options, SILENT)


def test_a_limit_does_not_change_which_images_calibrate(made, tmp_path):
    """So the network is as good for the rest of DATA, and a run without the limit continues the store."""
    run_extract(made / "data", out=tmp_path / "store", **OPTIONS, limit=3)
    assert recipe_of(tmp_path) == recipe_of(made)
    assert run_extract(made / "data", out=tmp_path / "store", **OPTIONS).computed == 27
    assert recipe_of(tmp_path) == recipe_of(made)


def test_a_head_predicts_without_the_store_and_without_nncf(copied, tmp_path):
    store = open_store(copied / "store")
    head = fit_head(store)
    folder = head.save(tmp_path / "head")
    expected = head.predict_features(store.arrays()[0])
    paths = [str(copied / "data" / path) for path in store.images()["path"].to_pylist()]
    shutil.rmtree(copied / "store")
    moved = folder.rename(tmp_path / "moved")
    for loaded in (load_head(moved), load_head(load_head(moved).save(tmp_path / "again"))):
        table = loaded.predict(paths)
        found = np.stack([table[name].to_numpy() for name in head.classes], axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-9)
    assert "network" not in json.loads((moved / "head.json").read_text())
    with pytest.raises(UsageError, match="8 bits, and exports compute in float32"):
        head.export(tmp_path / "model.keras", to="keras")
    shutil.rmtree(moved / "network")
    with pytest.raises(UsageError, match=r"need their quantized network: .* with --weights"):
        load_head(moved).predict(paths[:1])
    assert load_head(moved).predict(paths[:1], weights=tmp_path / "again")["error"].to_pylist() == [None]


def test_of_several_outputs_a_head_computes_its_own(made, tmp_path):
    options = {**OPTIONS, "layer": ("fire5_concat", "fire9_concat")}
    run_extract(made / "data", out=tmp_path / "store", **options)
    store = open_store(tmp_path / "store")
    assert [one.output for one in store.snapshot.info.agreements] == list(store.outputs)
    head = fit_head(store, output=list(store.outputs)[1])
    path = store.images()["path"][0].as_py()
    x, _ = store.arrays(output=list(store.outputs)[1])
    table = head.predict([str(made / "data" / path)])
    found = np.stack([table[name].to_numpy() for name in head.classes], axis=1)
    np.testing.assert_allclose(found, head.predict_features(x[:1]), atol=1e-9)


def test_quantizing_prints_nothing_and_leaves_the_process_as_it_was(made, tmp_path, capfd):
    before, lines = logging.getLoggerClass(), []
    run(RunOptions(made / "data", tmp_path / "store", **OPTIONS), Reporter(lines.append))
    assert logging.getLoggerClass() is before
    assert capfd.readouterr().out == ""
    assert any(line.startswith("int8 features: cosine to float32 0.9") for line in lines)


def test_another_precision_into_the_store_is_refused_in_one_line_of_difference(copied):
    with pytest.raises(RecipeMismatch, match=r"recipe; precision: the store has int8, this run asks for float32\. Ask"):
        run_extract(copied / "data", out=copied / "store", **{**OPTIONS, "precision": "float32"})


@pytest.mark.parametrize("runtime", ["keras", "onnxruntime"])
def test_a_runtime_that_does_not_compute_in_int8_is_refused(made, tmp_path, runtime):
    with pytest.raises(UsageError, match="int8 is computed by OpenVINO on a processor: leave --runtime"):
        run_extract(made / "data", out=tmp_path / "store", **OPTIONS, runtime=runtime)
    assert not (tmp_path / "store").exists()


def test_a_network_that_cannot_be_converted_is_refused_with_a_step_that_helps(made, tmp_path, monkeypatch):
    monkeypatch.setattr(load_float32, "backend_name", lambda: "jax")
    with pytest.raises(UsageError, match=r"converts from TensorFlow, and KERAS_BACKEND is jax: unset that$"):
        run_extract(made / "data", out=tmp_path / "store", **OPTIONS)
    monkeypatch.undo()
    monkeypatch.setattr(load_float32, "OpenvinoRuntime", lambda *_: (_ for _ in ()).throw(RuntimeError("no kernel")))
    for options in (OPTIONS, {"backbone": FOLDER / "dinov2", "precision": "int8"}):
        with pytest.raises(UsageError, match=r"cannot take .* \(no kernel\): choose another --precision than int8"):
            run_extract(made / "data", out=tmp_path / "store", **options)


def test_a_processor_without_int8_is_refused_and_told_what_it_has(made, tmp_path, monkeypatch):
    monkeypatch.setattr(load, "processor_precisions", lambda: ("float32", "bfloat16"))
    with pytest.raises(PrecisionMissing, match="does not compute in int8: choose --precision float32 or bfloat16"):
        run_extract(made / "data", out=tmp_path / "store", **OPTIONS)


def test_without_nncf_a_new_store_is_refused_with_what_installs_it(made, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nncf" else find(name))
    with pytest.raises(UsageError, match=r"NNCF, which is not installed: .*stillframe\[int8\]"):
        run_extract(made / "data", out=tmp_path / "store", **OPTIONS)


def test_an_archive_that_is_not_one_is_damage(copied):
    path = copied / "store" / network_file(recipe_of(copied).quantization.network)
    with zipfile.ZipFile(path) as files, zipfile.ZipFile(copied / "small.zip", "w", zipfile.ZIP_DEFLATED) as smaller:
        for name in files.namelist():
            smaller.writestr(name, files.read(name))
        model = files.read("model.xml")
    with zipfile.ZipFile(copied / "weightless.zip", "w") as smaller:
        smaller.writestr("model.xml", model)
        smaller.writestr("model.bin", b"too short")
    (copied / "short.zip").write_bytes(path.read_bytes()[:-500])
    whole = bytearray(path.read_bytes())
    entry = whole.rindex(b"PK\1\2")  # of model.bin, in the directory at the end
    whole[entry + 20 : entry + 28] = struct.pack("<2I", 2**31, 2**31)  # its sizes, far beyond the file's end
    (copied / "claimed.zip").write_bytes(whole)
    recipe, outputs = recipe_of(copied), open_store(copied / "store").snapshot.info.outputs
    for name in ("small.zip", "short.zip", "weightless.zip", "claimed.zip"):
        with pytest.raises(DamagedStore, match=rf"{name} is not the quantized network of its recipe \("):
            quantized_runtime(copied / name, recipe, outputs)


def make_network(folder, side=48, channels=512, dtype=np.float32, outputs=2):
    """The archive of a network that means something, and the wrong thing: it repeats the mean of the pixels."""
    pixels = opset.parameter([-1, side, side, 3], np.uint8)
    mean = opset.reduce_mean(opset.convert(pixels, "f32"), [1, 2, 3], keep_dims=True)
    feature = opset.convert(opset.reshape(opset.tile(mean, [1, 1, 1, channels]), [-1, channels], False), dtype)
    largest = opset.convert(opset.reduce_max(feature, [1]), "f32")
    openvino.save_model(openvino.Model([feature, largest][:outputs], [pixels]), folder / "model.xml", False)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        for name in ("model.xml", "model.bin"):
            files.write(folder / name, name)
    return archive.getvalue()


FOREIGN = [
    ({"side": 32}, "expected uint8 (1, 48, 48, 3), found uint8 (1, 32, 32, 3)"),
    ({"channels": 7}, "expected float32 (1, 512), found float32 (1, 7)"),
    ({"dtype": np.float64}, "expected float32 (1, 512), found float64 (1, 512)"),
    ({"outputs": 1}, "expected 2 outputs, found 1"),
]


@pytest.mark.parametrize(("differs", "problem"), FOREIGN)
def test_a_network_of_another_recipe_is_damage_wherever_it_is(made, tmp_path, monkeypatch, capsys, differs, problem):
    """With the right digest, as nobody makes it by chance: in a store, and in the folder of a head."""

    def ends_with(app, name, *arguments):
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        code = cli.run_app(app, name)
        return code, capsys.readouterr().err.strip().splitlines()

    data, network = made / "data", make_network(tmp_path, **differs)
    info = open_store(made / "store").snapshot.info
    foreign = replace(info.recipe.quantization, network=hashlib.sha256(network).hexdigest())
    recipe = replace(info.recipe, quantization=foreign)
    StoreWriter(open_files(tmp_path / "store")).create(replace(info, recipe=recipe), network)
    options = ("--backbone", "squeezenet", "--weights", "random", "--image-size", "48", "--pooling", "avg")
    code, lines = ends_with(
        cli.extract_app, "extract", "run", data, *options, "--precision", "int8", "--out", tmp_path / "store"
    )
    assert code == 4
    assert f"is not the quantized network of its recipe ({problem})" in lines[-1]

    head = fit_head(made / "store", head="centroid").save(tmp_path / "head")
    shutil.rmtree(head / "network")
    shutil.copytree(tmp_path / "store" / "network", head / "network")
    described = json.loads((head / "head.json").read_text())
    described |= {"recipe": recipe.to_dict(), "fingerprint": recipe.fingerprint}
    (head / "head.json").write_text(json.dumps(described))
    code, lines = ends_with(cli.fit_app, "fit", "predict", head, next(data.rglob("*.png")))
    assert code == 4
    assert f"is not the quantized network of its recipe ({problem})" in lines[-1]


def test_a_new_network_that_does_not_fit_is_no_damage(made, tmp_path, monkeypatch):
    monkeypatch.setattr(quantized, "quantize", lambda *_: make_network(tmp_path, channels=7))
    with pytest.raises(UsageError, match=r"cannot be computed \(expected .*\): choose another --precision than int8"):
        run_extract(made / "data", out=tmp_path / "store", **OPTIONS)


def test_a_machine_that_cannot_load_a_sound_network_does_not_call_it_damaged(made, monkeypatch):
    def no_memory(*_):
        raise RuntimeError("std::bad_alloc")

    monkeypatch.setattr(quantized, "OpenvinoRuntime", no_memory)
    store = open_store(made / "store")
    path = made / "store" / network_file(store.recipe.quantization.network)
    with pytest.raises(
        EnvironmentFailure, match=r"cannot load the quantized network on this machine \(std::bad_alloc\)"
    ):
        quantized_runtime(path, store.recipe, store.snapshot.info.outputs)


def test_a_damaged_network_of_a_head_is_damage(made, tmp_path):
    head = fit_head(made / "store", head="centroid").save(tmp_path / "head")
    flip_bit(next((head / "network").iterdir()), 1000)
    with pytest.raises(DamagedStore, match=r"head/network/.* is not the bytes that gave it its name: put it back"):
        load_head(head).predict([str(next((made / "data").rglob("*.png")))])


def test_a_transformer_from_an_onnx_file_is_quantized_too(made, tmp_path):
    run_extract(made / "data", out=tmp_path / "store", backbone=FOLDER / "dinov2", precision="int8", batch_size=4)
    (agreement,) = open_store(tmp_path / "store").snapshot.info.agreements
    assert 0.99 < agreement.lowest < 1


def test_a_damaged_network_of_a_head_is_replaced_by_that_of_the_store(copied, tmp_path):
    """By loading and saving the head, and by fitting it again in its place."""
    store = copied / "store"
    folder = fit_head(store, head="centroid").save(tmp_path / "head")
    name = network_file(recipe_of(copied).quantization.network)
    sound = (store / name).read_bytes()

    flip_bit(folder / name, 1000)
    load_head(folder).save(folder, force=True)
    assert (folder / name).read_bytes() == sound

    flip_bit(folder / name, 1000)
    fit_head(store, head="centroid").save(folder, force=True)
    assert (folder / name).read_bytes() == sound

    flip_bit(folder / name, 1000)
    shutil.rmtree(store)
    with pytest.raises(DamagedStore, match=r"head/network/.* is not the bytes that gave it its name"):
        load_head(folder).save(tmp_path / "again")
