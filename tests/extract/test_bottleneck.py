"""The line that says what limited a run."""

import dataclasses

import pytest

from extract.bottleneck import ResourceUse, find_bottleneck, longest_phase

USAGE = ResourceUse(
    seconds=7.0,
    phases={"read": 0.0, "decode": 1.0, "compute": 5.0, "write": 0.5},
    cores=16,
    cores_used=15.5,
    decoders=16,
    runtime="openvino",
    device="CPU",
    backend="openvino 1",
    precision="float32",
    precisions=("float32",),
    gpu_here=False,
)
ON_GPU = {"device": "NVIDIA H100", "runtime": "keras", "backend": "jax 1", "gpu_here": True}
DECODING = {"read": 0.0, "decode": 5.0, "compute": 1.0, "write": 0.0}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "the network limits, 15.5 of 16 cores used: a GPU or a smaller backbone"),
        ({"precisions": ("float32", "bfloat16")}, "--precision bfloat16"),
        ({"precisions": ("float32", "bfloat16"), "precision": "bfloat16"}, "a GPU or a smaller backbone"),
        ({"runtime": "keras", "backend": "tensorflow 2"}, "--runtime openvino"),
        ({"runtime": "keras", "backend": "jax 1", "precisions": ("float32", "bfloat16")}, "--runtime openvino"),
        ({**ON_GPU, "precisions": ("float32", "float16", "bfloat16")}, "--precision bfloat16 or float16 would"),
        ({**ON_GPU, "precisions": ("float32", "float16")}, "--precision float16 would"),
        ({**ON_GPU, "precisions": ("float32",)}, ": a smaller backbone"),
        ({**ON_GPU, "precisions": ("float32", "float16"), "precision": "float16"}, ": a smaller backbone"),
        ({"gpu_here": True, "runtime": "keras", "backend": "tensorflow 2"}, "the GPU is not being used: tensorflow"),
        ({"gpu_here": True}, "--runtime keras"),
        ({"gpu_here": True, "requested_device": "cpu"}, "the network limits, 15.5 of 16 cores used"),
        ({"gpu_here": True, "requested_device": "cpu", "runtime": "keras", "backend": "jax 1"}, "the network limits"),
        ({"gpu_here": True, "precision": "int8"}, "another --precision (other features: a new store) would use it"),
        ({"phases": DECODING, "cores_used": 4.2, "decoders": 4}, "4.2 of 16 cores used: raise --workers (it is 4)"),
        ({"phases": DECODING}, "--fast-decode"),
        ({"phases": {**DECODING, "read": 9.0}}, "reading limits"),
        ({"phases": {**DECODING, "write": 9.0}}, "writing limits"),
        ({"seconds": 0.5}, "too short"),
    ],
)
def test_the_bottleneck_names_the_phase_and_what_to_change(changes, sentence):
    assert sentence in find_bottleneck(dataclasses.replace(USAGE, **changes))


def test_the_phase_that_was_waited_for_longest_limits():
    assert longest_phase(USAGE.phases) == "compute"
    assert longest_phase(dict.fromkeys(USAGE.phases, 0.0)) == ""
