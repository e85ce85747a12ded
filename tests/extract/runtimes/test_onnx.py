"""ONNX models of other shapes than Hugging Face transformers exports: several inputs, channels last, half precision."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from extract.runtimes.load_onnx import choose_onnx_runtime
from store.errors import UsageError
from tests.extract.backbones.networks import TOML, compute, load

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
PREPARED = ((PIXELS / 255 - 0.5) / 0.5).astype(np.float32)
RUNTIMES = ("openvino", "onnxruntime")


@pytest.fixture
def place(tmp_path):
    """Write a model of these nodes; gives what `load` takes of it."""

    def write(nodes, inputs, outputs, constants=None, layout=None):
        tensors = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
        ports = [[helper.make_tensor_value_info(*port) for port in given] for given in (inputs, outputs)]
        graph = helper.make_graph(nodes, "g", *ports, initializer=tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        lines = [line for line in TOML.splitlines() if not line.startswith("layout")]
        (tmp_path / "x.toml").write_text("\n".join([*lines, *([f'layout = "{layout}"'] if layout else [])]))
        return {"backbone": tmp_path / "model.onnx", "preprocessing": tmp_path / "x.toml"}

    return write


NCHW = ("pixel_values", TensorProto.FLOAT, ["n", 3, 32, 32])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_channels_last_are_seen_and_kept(runtime, place):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    shape = ["n", 32, 32, 3]
    given = place(nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)])
    loaded, request = load(**given, runtime=runtime)
    assert request.network.backbone.preprocessing.layout == "nhwc"
    np.testing.assert_allclose(compute(loaded, PIXELS), PREPARED, atol=1e-6)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_feature_map_of_channels_first_is_stored_channels_last(runtime, place):
    nodes = [helper.make_node("Identity", ["pixel_values"], ["y"])]
    given = place(nodes, [NCHW], [("y", TensorProto.FLOAT, ["n", 3, 32, 32])])
    loaded, _ = load(**given, runtime=runtime)
    np.testing.assert_allclose(compute(loaded, PIXELS), PREPARED, atol=1e-6)
    pooled, _ = load(**given, runtime=runtime, pooling="avg")
    np.testing.assert_allclose(compute(pooled, PIXELS), PREPARED.mean(axis=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_in_half_precision_gets_its_own_type(runtime, place):
    nodes = [helper.make_node("Flatten", ["pixel_values"], ["y"])]
    half = ("pixel_values", TensorProto.FLOAT16, ["n", 3, 32, 32])
    loaded, _ = load(**place(nodes, [half], [("y", TensorProto.FLOAT16, ["n", 3072])]), runtime=runtime)
    np.testing.assert_allclose(compute(loaded, PIXELS), PREPARED.transpose(0, 3, 1, 2).reshape(2, -1), atol=1e-3)


def two_inputs(place):
    nodes = [
        helper.make_node("Flatten", ["pixel_values"], ["image_embeds"]),
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["ids"], ["text"], keepdims=0),
        helper.make_node("Add", ["image_embeds", "text"], ["logits"]),
    ]
    inputs = [("input_ids", TensorProto.INT64, ["n", "length"]), NCHW]
    return place(nodes, inputs, [(name, TensorProto.FLOAT, ["n", 3072]) for name in ("image_embeds", "logits")])


def test_of_a_model_of_images_and_texts_the_images_half_is_taken(place):
    loaded, _ = load(**two_inputs(place), layer="image_embeds")
    np.testing.assert_allclose(compute(loaded, PIXELS), PREPARED.transpose(0, 3, 1, 2).reshape(2, -1), atol=1e-6)
    with pytest.raises(UsageError, match="gives no logits for images of 32x32 alone"):
        load(**two_inputs(place), layer="logits")
    with pytest.raises(UsageError, match="say with --layer which one"):
        load(**two_inputs(place))


def test_inputs_of_which_none_is_for_images_are_refused(place):
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    ports = [(name, TensorProto.FLOAT, ["n", 3, 32, 32]) for name in ("a", "b")]
    with pytest.raises(
        UsageError, match=r"has the inputs a \(\?, 3, 32, 32\), b .*expected one, or one named pixel_values"
    ):
        load(**place(nodes, ports, [("y", TensorProto.FLOAT, ["n", 3, 32, 32])]))
    flat = [helper.make_node("Identity", ["a"], ["y"])]
    with pytest.raises(UsageError, match="expected batch, channels, height and width"):
        load(**place(flat, [("a", TensorProto.FLOAT, ["n", 8])], [("y", TensorProto.FLOAT, ["n", 8])]))


def test_an_initializer_among_the_inputs_is_not_an_input(place):
    nodes = [helper.make_node("Mul", ["pixel_values", "w"], ["z"]), helper.make_node("Flatten", ["z"], ["y"])]
    inputs = [NCHW, ("w", TensorProto.FLOAT, [1])]  # as older exporters write it
    given = place(nodes, inputs, [("y", TensorProto.FLOAT, ["n", 3072])], {"w": np.array([2], np.float32)})
    loaded, _ = load(**given)
    np.testing.assert_allclose(compute(loaded, PIXELS), 2 * PREPARED.transpose(0, 3, 1, 2).reshape(2, -1), atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e6])
def test_what_cannot_be_stored_shows_in_the_largest_magnitude(factor, runtime, place):
    nodes = [helper.make_node("Mul", ["pixel_values", "w"], ["y"])]
    given = place(nodes, [NCHW], [("y", TensorProto.FLOAT, None)], {"w": np.array(factor, np.float32)})
    loaded, _ = load(**given, dtype="float16", runtime=runtime)
    (largest,) = loaded.start(list(PIXELS[:1])).result().largest
    assert not (largest <= np.finfo(np.float16).max).any()


@pytest.mark.parametrize(
    ("asked", "device", "openvino", "onnxruntime", "chosen"),
    [
        ("auto", "auto", True, True, "openvino"),
        ("auto", "cpu", False, True, "onnxruntime"),
        ("openvino", "cpu", True, False, "openvino"),
        ("onnxruntime", "gpu", True, True, "onnxruntime"),
    ],
)
def test_openvino_computes_unless_another_is_asked_for(asked, device, openvino, onnxruntime, chosen):
    assert choose_onnx_runtime(asked, device, openvino, onnxruntime) == chosen


@pytest.mark.parametrize(
    ("asked", "device", "here", "message"),
    [
        ("auto", "auto", False, r"stillframe\[openvino\]"),
        ("openvino", "auto", False, r"stillframe\[openvino\]"),
        ("onnxruntime", "auto", False, "onnxruntime: it is not installed"),
        ("auto", "gpu", True, "--runtime onnxruntime for a GPU"),
        ("keras", "auto", True, "Keras does not compute ONNX"),
    ],
)
def test_what_cannot_compute_is_refused(asked, device, here, message):
    with pytest.raises(UsageError, match=message):
        choose_onnx_runtime(asked, device, here, here)
