"""The device that is asked for: refused where it is not there, and the only one that a backend sees."""

import os
from dataclasses import replace

import pytest

import extract.runtimes.device as device
import extract.runtimes.load as load
from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights
from extract.runtimes.device import CPU, Device, require_device, require_found, visible_devices
from extract.runtimes.load import NetworkSpec, load_runtime
from store.errors import UsageError

GPU = Device("NVIDIA H200", ("float32",))


@pytest.fixture
def gpus(monkeypatch):
    """A machine with this number of GPUs."""

    def make(count):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(device, "machine_has_gpu", lambda: count > 0)
        monkeypatch.setattr(device.glob, "glob", lambda _: ["gpu"] * count)

    return make


@pytest.mark.parametrize("asked", ["gpu", "cuda:0"])
def test_without_a_gpu_one_is_refused_and_the_processor_named(gpus, asked):
    gpus(0)
    with pytest.raises(UsageError, match=rf"--device {asked}: there is no GPU driver here, only the processor \("):
        require_device(asked)


def test_a_gpu_that_is_not_there_is_refused_naming_those_that_are(gpus):
    gpus(2)
    require_device("cuda:1")
    with pytest.raises(UsageError, match=r"--device cuda:2: .* there are cuda:0, cuda:1 and the processor"):
        require_device("cuda:2")


def test_gpus_that_are_hidden_are_not_there(gpus, monkeypatch):
    gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match="CUDA_VISIBLE_DEVICES is ''"):
        require_device("gpu")


@pytest.mark.parametrize(
    ("asked", "allowed", "seen"),
    [("auto", "4,5", "4,5"), ("gpu", "4,5", "4,5"), ("cpu", "4,5", ""), ("cuda:1", "4,5", "5")],
)
def test_a_backend_sees_the_device_alone_while_it_starts(monkeypatch, asked, allowed, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    with visible_devices(asked):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    assert os.environ["CUDA_VISIBLE_DEVICES"] == allowed


def test_a_backend_that_started_on_another_device_is_refused():
    require_found("auto", GPU, "jax")
    require_found("cpu", Device(CPU, ()), "jax")
    require_found("cuda:1", GPU, "jax")
    with pytest.raises(UsageError, match=r"--device gpu: tensorflow sees no GPU.* docs/gpu\.md"):
        require_found("gpu", Device(CPU, ()), "tensorflow")
    with pytest.raises(UsageError, match="--device cpu: tensorflow computes on NVIDIA H200"):
        require_found("cpu", GPU, "tensorflow")


@pytest.mark.parametrize(("asked", "chosen"), [("auto", "keras"), ("cpu", "openvino"), ("gpu", "keras")])
def test_the_runtime_is_that_of_the_device(monkeypatch, asked, chosen):
    monkeypatch.setattr(device, "machine_has_gpu", lambda: True)
    monkeypatch.setattr(load, "machine_has_gpu", lambda: True)
    monkeypatch.setattr(load, "_load_keras", lambda *_: ("keras", ""))
    monkeypatch.setattr(load, "_load_openvino_or_keras", lambda *_: ("openvino", ""))
    backbone = get_backbone("mobilenet_v2")
    spec = NetworkSpec(backbone, Weights("random"), backbone.size, (), "none", "auto", device=asked)
    assert load_runtime(spec)[0] == chosen
    if chosen == "keras" and asked != "auto":
        with pytest.raises(UsageError, match="OpenVINO computes on the processor"):
            load_runtime(replace(spec, runtime="openvino"))


@pytest.mark.parametrize(
    ("flags", "able"),
    [
        ("avx2 avx512f", ("float32",)),
        ("avx2 avx_vnni", ("float32", "int8")),
        ("avx512_bf16 avx512_vnni", ("float32", "bfloat16", "int8")),
        ("amx_bf16 amx_int8", ("float32", "bfloat16", "int8")),
    ],
)
def test_what_a_processor_computes_in_is_what_its_flags_say(monkeypatch, flags, able):
    monkeypatch.setattr(device.Path, "read_text", lambda _: f"flags\t\t: fpu {flags}\n")
    assert device.processor_precisions() == able
    monkeypatch.setattr(device, "_of_torch", lambda: (CPU, ()))
    assert device.backend_device("torch").precisions == tuple(name for name in able if name != "int8")
