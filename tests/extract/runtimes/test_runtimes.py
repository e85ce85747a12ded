"""Runtimes: which one is chosen, that they agree, what they do without memory, and what is kept of a conversion."""

import hashlib
import math

import keras
import numpy as np
import pytest

import extract.runtimes.load as load
import extract.runtimes.openvino as openvino
from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights
from extract.runtimes.base import Computed
from extract.runtimes.convert import convert, find_converted, model_key
from extract.runtimes.device import CPU, Device, machine_has_gpu, peak_memory, processor_precisions, usable_cores
from extract.runtimes.keras import KerasRuntime
from extract.runtimes.load import NetworkSpec, choose_runtime, load_runtime
from extract.runtimes.model import feature_model
from extract.runtimes.openvino import converted_runtime
from store.errors import UsageError
from store.progress import Reporter

PROCESSOR = Device(CPU, ("float32",))


@pytest.fixture(autouse=True)
def no_conversions(own_cache):
    (own_cache / "openvino").unlink()


def network_spec(name="mobilenet_v2", size=32, **fields):
    values = {"layers": (get_backbone(name).layer,), "pooling": "none", "dtype": "float32", **fields}
    return NetworkSpec(get_backbone(name), Weights("random"), (size, size), **values)


def images(size, count=3):
    return list(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def small_network(poison=None):
    """Two convolutions; `poison` is one of the last one's weights."""
    pixels = keras.Input((32, 32, 3))
    first = keras.layers.Conv2D(4, 3, activation="silu", name="first")
    last = keras.layers.Conv2D(5, 3, name="last")
    network = keras.Model(pixels, last(first(pixels)))
    if poison is not None:
        kernel, bias = last.get_weights()
        kernel[0, 0, 0, 0] = poison
        last.set_weights([kernel, bias])
    return network


def both(model, batch_size=2):
    """The model in either runtime."""
    path = convert(model, hashlib.sha256(model.to_json().encode()).hexdigest())
    return KerasRuntime(model, batch_size, PROCESSOR), converted_runtime(path, "float32", batch_size)


def test_several_layers_are_in_order_pooled_and_of_the_stored_type():
    model = feature_model(small_network(), ("last", "first"), "max", "tf", "float16")
    expected, found = (runtime.start(images(32, 2)).result() for runtime in both(model))
    assert [tensor.shape for tensor in found.tensors] == [(2, 5), (2, 4)]
    for ours, theirs in zip(found.tensors, expected.tensors, strict=True):
        assert ours.dtype == theirs.dtype == np.float16
        np.testing.assert_allclose(ours.astype(float), theirs.astype(float), atol=2e-3)
    for ours, tensor in zip(found.largest, expected.tensors, strict=True):
        np.testing.assert_allclose(ours, np.abs(tensor).max(axis=1), atol=2e-3)


@pytest.mark.skipif("bfloat16" not in processor_precisions(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("runtime", [pytest.param("keras", marks=pytest.mark.slow), "openvino"])
def test_bfloat16_is_near_float32_and_not_the_same(runtime):
    results = []
    for precision in ("float32", "bfloat16"):
        loaded, _ = load_runtime(network_spec(size=64, precision=precision, runtime=runtime, batch_size=3))
        results.append(loaded.start(images(64)).result().tensors[0].ravel())
    plain, reduced = results
    assert not np.array_equal(plain, reduced)
    assert plain @ reduced / math.sqrt((plain @ plain) * (reduced @ reduced)) > 0.99


@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_a_precision_that_the_processor_lacks_is_refused(runtime, monkeypatch):
    monkeypatch.setitem(openvino._CAPABILITIES, "float16", "one that no processor has")
    with pytest.raises(UsageError, match=r"not compute in float16.*--precision float32"):
        load_runtime(network_spec(precision="float16", runtime=runtime))


@pytest.mark.parametrize("value", [np.nan, *(pytest.param(value, marks=pytest.mark.slow) for value in (np.inf, 1e30))])
def test_what_cannot_be_stored_shows_in_the_largest_magnitude(value):
    for runtime in both(feature_model(small_network(value), ("last",), "none", "tf", "float16")):
        (largest,) = runtime.start(images(32, 2)).result().largest
        assert not (largest <= np.finfo(np.float16).max).any()
        assert np.isfinite(largest).all() == np.isfinite(value)


# Batches


def keras_runtime(batch_size):
    return KerasRuntime(feature_model(small_network(), ("last",), "avg", "tf", "float32"), batch_size, PROCESSOR)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow alone takes weights as constants")
def test_a_large_network_keeps_its_weights_as_variables_and_gives_the_same(monkeypatch):
    from tensorflow.python.framework import convert_to_constants

    model = feature_model(small_network(), ("last",), "avg", "tf", "float32")  # two of them have other random weights
    frozen = KerasRuntime(model, 4, PROCESSOR).start(images(32, 4)).result()
    monkeypatch.setattr("extract.runtimes.keras._MOST_CONSTANTS", 0)
    monkeypatch.setattr(convert_to_constants, "convert_variables_to_constants_v2", None)
    kept = KerasRuntime(model, 4, PROCESSOR).start(images(32, 4)).result()
    np.testing.assert_allclose(kept.tensors[0], frozen.tensors[0], rtol=1e-5, atol=1e-6)


def test_a_short_batch_gives_the_same_as_a_full_one():
    runtime = keras_runtime(4)
    full = runtime.start(images(32, 4)).result().tensors[0]
    np.testing.assert_allclose(runtime.start(images(32, 4)[:1]).result().tensors[0], full[:1], rtol=1e-5, atol=1e-6)


def test_a_short_batch_is_padded_to_less_than_a_full_one_and_gives_the_same(monkeypatch):
    runtime, sizes = keras_runtime(128), []
    call = runtime._call
    monkeypatch.setattr(runtime, "_call", lambda pixels: (sizes.append(len(pixels)), call(pixels))[1])
    pixels = images(32, 128)
    full = runtime.start(pixels).result().tensors[0]
    for count in (1, 32, 33, 70):
        short = runtime.start(pixels[-count:]).result().tensors[0]
        np.testing.assert_allclose(short, full[-count:], rtol=1e-5, atol=1e-6)
    expected = [128] * 5 if runtime.environment["backend"].startswith("jax") else [128, 32, 32, 64, 128]
    assert sizes == expected


@pytest.mark.parametrize("name", ["ResourceExhaustedError", "OutOfMemoryError", "XlaRuntimeError"])
def test_without_memory_the_batch_is_halved_and_all_images_are_computed(name, monkeypatch):
    runtime = keras_runtime(8)
    expected = runtime.start(images(32, 8)).result().tensors[0]
    plain = runtime._call
    error = type(name, (RuntimeError,), {})("RESOURCE_EXHAUSTED: out of memory allocating 1 byte")

    def small(pixels):
        if len(pixels) > 3:
            raise error
        return plain(pixels)

    monkeypatch.setattr(runtime, "_call", small)
    np.testing.assert_allclose(runtime.start(images(32, 8)).result().tensors[0], expected, rtol=1e-4, atol=1e-5)
    assert runtime.batch_size == 2
    monkeypatch.setattr(runtime, "_call", lambda pixels: small(np.zeros((9, 1))))
    with pytest.raises(RuntimeError, match="out of memory"):
        runtime.start(images(32, 1)).result()


def test_another_error_is_not_taken_for_a_lack_of_memory(monkeypatch):
    runtime = keras_runtime(8)
    monkeypatch.setattr(runtime, "_call", lambda pixels: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runtime.start(images(32, 8)).result()
    assert runtime.batch_size == 8


# Choosing


@pytest.mark.parametrize(
    ("asked", "backend", "openvino", "gpu", "chosen"),
    [
        ("auto", "tensorflow", True, False, "openvino"),
        ("auto", "tensorflow", True, True, "keras"),
        ("auto", "jax", True, False, "keras"),
        ("keras", "tensorflow", True, False, "keras"),
        ("openvino", "tensorflow", True, True, "openvino"),
    ],
)
def test_a_processor_computes_with_openvino_and_a_gpu_with_keras(asked, backend, openvino, gpu, chosen):
    assert choose_runtime(asked, backend, openvino, gpu) == (chosen, "")


def test_without_openvino_keras_computes_and_says_so():
    name, line = choose_runtime("auto", "tensorflow", openvino_here=False, gpu_here=False)
    assert name == "keras"
    assert "stillframe[openvino]" in line


@pytest.mark.parametrize(("backend", "here", "message"), [("tensorflow", False, "not installed"), ("jax", True, "jax")])
def test_openvino_that_cannot_be_used_is_refused(backend, here, message):
    with pytest.raises(UsageError, match=message):
        choose_runtime("openvino", backend, here, gpu_here=False)


def test_a_network_that_openvino_cannot_take_is_computed_by_keras(monkeypatch):
    def failing(*_):
        raise RuntimeError("no such\noperation")

    monkeypatch.setattr(load, "convert", failing)
    lines = []
    runtime, _ = load_runtime(network_spec(), Reporter(message=lines.append))
    assert runtime.environment["runtime"] == "keras"
    assert any("no such operation" in line for line in lines)
    with pytest.raises(UsageError, match="--runtime keras"):
        load_runtime(network_spec(runtime="openvino"))


# What is kept of a conversion


def test_what_was_converted_once_needs_no_keras(monkeypatch):
    lines = []
    first, digest = load_runtime(network_spec(), Reporter(message=lines.append))
    assert any("once" in line for line in lines)

    def refused(*_):
        raise AssertionError("Keras was started")

    monkeypatch.setattr(load, "start_keras", refused)
    again, same = load_runtime(network_spec(precision="float32", batch_size=2))
    assert same == digest
    plain, batched = first.start(images(32, 1)).result(), again.start(images(32, 2)).result()
    np.testing.assert_allclose(batched.tensors[0][:1], plain.tensors[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(AssertionError, match="Keras was started"):
        load_runtime(network_spec(pooling="avg"))


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "sha256"])
def test_a_damaged_conversion_is_never_computed_with(name):
    model = keras.Sequential([keras.Input((8, 8, 3), dtype="uint8"), keras.layers.Flatten()])
    key = model_key({"backbone": "x"})
    assert find_converted(key) is None
    path = convert(model, key)
    assert find_converted(key) == path
    damaged = bytearray((path.parent / name).read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 1] = b"~"
    (path.parent / name).write_bytes(bytes(damaged) or b"~")
    assert find_converted(key) is None
    convert(model, key)
    assert find_converted(key) == path


def test_versions_and_identity_make_the_key():
    assert model_key({"backbone": "a", "layers": ("x",)}) == model_key({"layers": ("x",), "backbone": "a"})
    assert model_key({"backbone": "a"}) != model_key({"backbone": "b"})


# The machine


def test_what_is_asked_of_the_machine_has_sensible_answers():
    assert usable_cores() >= 1
    assert machine_has_gpu() in (True, False)
    assert peak_memory() > 10 * 2**20
    assert "float32" in processor_precisions()


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("150000 100000", 2), ("10000 100000", 1), ("x", 8)])
def test_a_containers_quota_limits_the_cores(quota, cores, tmp_path, monkeypatch):
    import extract.runtimes.device as device

    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(device, "_CPU_MAX", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert usable_cores() == cores


def test_an_older_containers_quota_limits_the_cores_too(tmp_path, monkeypatch):
    import extract.runtimes.device as device

    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(device, "_CPU_MAX", tmp_path / "none")
    monkeypatch.setattr(device, "_CPU_CFS", (tmp_path / "quota", tmp_path / "period"))
    (tmp_path / "period").write_text("100000\n")
    for quota, cores in (("-1", 8), ("300000", 3)):
        (tmp_path / "quota").write_text(quota + "\n")
        assert usable_cores() == cores


def test_several_calls_in_progress_keep_their_own_results():
    loaded, _ = load_runtime(network_spec(runtime="openvino"))
    pictures = images(32, loaded.in_flight)
    calls = [loaded.start([picture]) for picture in pictures]
    results = [call.result().tensors[0] for call in calls]
    for picture, result in zip(pictures, results, strict=True):
        np.testing.assert_array_equal(loaded.start([picture]).result().tensors[0], result)
    assert isinstance(loaded.start(pictures[:1]).result(), Computed)
