"""A head and its backbone as one model: uint8 pixels in, class probabilities out, for five runtimes.

Pixels are (batch, height, width, 3), already resized by the recipe, which stands beside the model as JSON with the
classes. The model is made of Keras' own layers alone, so that it needs none of our code. What was written is run by
its own runtime before it is called done, and must agree with `fit predict`.
"""

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from extract.backbones.build import cut
from extract.backbones.load import load_network
from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights
from extract.extractor import Extractor
from extract.process_state import quiet_start
from store.errors import EnvironmentFailure, StillframeError, UsageError
from store.files.names import file_path

if TYPE_CHECKING:
    from fit.head import Head

Pixels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float64]

CHECKED_IMAGES = 20
TOLERANCE = 1e-3

# keras.applications.imagenet_utils: the means of ImageNet, of 0..255 in BGR, and of 0..1 in RGB with deviations.
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Target:
    """One format: the ending of its file ("" for a folder), the modules it needs, and the extra that brings them."""

    name: str
    ending: str
    modules: tuple[str, ...]
    extra: str
    write: Callable[[keras.Model, Path], None]
    run: Callable[[Path, Pixels], Any]


def export_head(
    head: "Head", out: Path, to: str, weights: str | None = None, force: bool = False, debug: bool = False
) -> float:
    """Write a head as one model, check it, and put recipe and classes beside it.

    Args:
        head: a Keras head, or a linear scikit-learn one.
        out: the file to write; a folder for saved_model.
        to: a name of TARGETS.
        weights: where the backbone's weights are now, if elsewhere.
        force: replace what is there.
        debug: show the converters' own messages.

    Returns:
        The largest difference in probability to `fit predict` on 20 sample images.

    Raises:
        UsageError: the head, the backbone or the format cannot be had; or the result differs.
    """
    target = find_target(to)
    require_export_place(target, out, force)
    with quiet_start(debug):
        layers_of_head = head_model(head)
        network, _ = load_network(
            get_backbone(head.info.recipe.backbone),
            Weights.parse(weights or file_path(head.info.weights)),
            head.info.recipe.image_size,
        )
        preprocessing = get_backbone(head.info.recipe.backbone).preprocessing
        model = whole_model(network, head.info.output.layer, head.info.output.pooling, preprocessing, layers_of_head)
    pixels = sample_pixels(head.info.recipe.image_size)
    expected = _float32_probabilities(head, pixels, weights, debug)
    with _written_beside(out) as temporary:
        with quiet_start(debug), _silent_output(debug):
            try:
                target.write(model, temporary)
                found = np.asarray(target.run(temporary, pixels), np.float64)
            except StillframeError:
                raise
            except Exception as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise UsageError(
                    f"{head.info.recipe.backbone} with the head {head.info.head} cannot be exported to {to} "
                    f"({type(error).__name__}: {reason}): choose another of {', '.join(TARGETS)}"
                ) from error
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise UsageError(
                f"the {to} export of {head.info.recipe.backbone} differs from `fit predict` by {difference:.2g} in "
                f"probability, more than {TOLERANCE:g}: it was not kept; choose another of {', '.join(TARGETS)}"
            )
    _write_description(head, out)
    return difference


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none, or what it needs is not installed.
    """
    if name not in TARGETS:
        raise UsageError(f"unknown target {name!r}: choose one of {', '.join(TARGETS)}")
    target = TARGETS[name]
    backend = keras.backend.backend()
    if name != "keras" and backend != "tensorflow":
        raise UsageError(
            f"--to {name} goes through TensorFlow, and KERAS_BACKEND is {backend}: run it without KERAS_BACKEND; "
            "the head is the same under every backend"
        )
    missing = [module for module in target.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"--to {name} needs {', '.join(missing)}: pip install 'stillframe[{target.extra}]'")
    return target


def require_export_place(target: Target, out: Path, force: bool) -> None:
    """Raise UsageError unless a model of that target can be written there."""
    if out.suffix.lower() != target.ending:
        expected = f"a file ending in {target.ending}" if target.ending else "a folder, without an ending"
        raise UsageError(f"--out {out}: expected {expected} for {target.name}")
    if out.exists() and not force:
        raise UsageError(f"{out} exists: choose another --out, or replace it with --force")
    if out.is_dir() and any(out.iterdir()) and not (out / "saved_model.pb").is_file():
        raise UsageError(f"{out} is a folder with other things in it: choose another --out")


def head_model(head: "Head") -> keras.Model:
    """A head as a Keras model from the store's features to the probabilities of all classes.

    Raises:
        UsageError: it is neither a Keras head nor a linear one.
    """
    from fit.heads.build import find_kind
    from fit.heads.keras import linear_model
    from fit.heads.sklearn import linear_form

    if not head.is_network and (":" in head.info.head or not find_kind(head.info.head).exports):
        raise UsageError(
            f"the head {head.info.head} cannot be written as layers, only Keras heads and the linear ones "
            "(logistic, ridge, linear_svm, sgd) can: fit one of those, or use `fit predict`"
        )
    inputs = keras.Input(head.info.output.shape, name="features")
    inner = head.estimator.model_ if head.is_network else linear_model(linear_form(head.estimator))
    probabilities = inner(_reduced(inputs, head.info.reduction))
    if probabilities.shape[-1] == 1:  # the second of two classes
        probabilities = layers.Concatenate()([1.0 - probabilities, probabilities])
    return keras.Model(inputs, probabilities, name="head")


def _reduced(tensor: keras.KerasTensor, reduction: str) -> keras.KerasTensor:
    if len(tensor.shape) == 2 or reduction == "none":
        return tensor
    kinds = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D, "flatten": layers.Flatten}
    return kinds[reduction]()(tensor)


def whole_model(network: keras.Model, layer: str, pooling: str, preprocessing: str, head: keras.Model) -> keras.Model:
    """uint8 pixels -> probabilities: preprocessing, the network cut at `layer`, pooling, head."""
    pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="pixels")
    tensor = cut(network, (layer,))(_preprocessed(pixels, preprocessing))
    tensor = tensor[0] if isinstance(tensor, list | tuple) else tensor
    if len(tensor.shape) == 4 and pooling != "none":
        tensor = _reduced(tensor, pooling)
    return keras.Model(pixels, head(tensor), name="stillframe")


def _preprocessed(pixels: keras.KerasTensor, mode: str) -> keras.KerasTensor:
    """keras.applications.imagenet_utils.preprocess_input in layers that every converter knows."""
    if mode == "tf":
        return layers.Rescaling(1 / 127.5, -1.0, name="preprocess")(pixels)
    values = layers.Rescaling(1.0, name="as_float")(pixels)
    if mode == "inside":
        return values
    kernel, bias = np.eye(3), -np.array(_CAFFE_MEAN)
    if mode == "caffe":
        kernel = kernel[::-1]
    else:
        kernel, bias = kernel / 255 / _TORCH_DEVIATION, -np.array(_TORCH_MEAN) / _TORCH_DEVIATION
    mix = layers.Conv2D(3, 1, trainable=False, name="preprocess")
    mixed = mix(values)
    mix.set_weights([kernel.reshape(1, 1, 3, 3).astype(np.float32), bias.astype(np.float32)])
    return mixed


def _float32_probabilities(head: "Head", pixels: Pixels, weights: str | None, debug: bool) -> npt.NDArray[Any]:
    """What `fit predict` gives; in float32, as exports compute, whatever precision the recipe has."""
    recipe = dataclasses.replace(head.info.recipe, precision="float32")
    if recipe == head.info.recipe:
        return head.predict_pixels(pixels, weights, debug)
    extractor = Extractor(recipe, head.info.output, weights or file_path(head.info.weights), debug)
    return head.predict_features(extractor.of_pixels(pixels))


def sample_pixels(size: tuple[int, int]) -> Pixels:
    """(20, height, width, 3): crops of scikit-learn's two photographs, and noise."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    height, width = size
    images = []
    for number in range(CHECKED_IMAGES - 2):
        photo = Image.fromarray(load_sample_images().images[number % 2])
        side = int(rng.integers(100, 400))
        left, top = (int(rng.integers(0, limit - side)) for limit in photo.size)
        images.append(np.asarray(photo.crop((left, top, left + side, top + side)).resize((width, height))))
    noise = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    return np.concatenate([np.stack(images), noise])


def _write_keras(model: keras.Model, path: Path) -> None:
    model.save(path)


def _run_keras(path: Path, pixels: Pixels) -> Any:
    return keras.saving.load_model(path, compile=False).predict_on_batch(pixels)


def _write_saved_model(model: keras.Model, path: Path) -> None:
    model.export(str(path), format="tf_saved_model", verbose=False)


def _run_saved_model(path: Path, pixels: Pixels) -> Any:
    tensorflow = importlib.import_module("tensorflow")
    serve = tensorflow.saved_model.load(str(path)).signatures["serving_default"]
    (values,) = serve(**{name: tensorflow.constant(pixels) for name in serve.structured_input_signature[1]}).values()
    return values


def _write_onnx(model: keras.Model, path: Path) -> None:
    tensorflow, tf2onnx = importlib.import_module("tensorflow"), importlib.import_module("tf2onnx")
    convert = importlib.import_module("tensorflow.python.framework.convert_to_constants")
    specification = [tensorflow.TensorSpec(model.input_shape, tensorflow.uint8, name="pixels")]
    traced = tensorflow.function(lambda pixels: {"probabilities": model(pixels)}).get_concrete_function(*specification)
    # Inlined and with constant weights: the converter knows neither nested calls nor some variables.
    frozen = convert.convert_variables_to_constants_v2(traced, lower_control_flow=False)
    graph, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=[tensor.name for tensor in frozen.inputs],
        output_names=[tensor.name for tensor in frozen.outputs],
        opset=17,
    )
    path.write_bytes(graph.SerializeToString())


def _run_onnx(path: Path, pixels: Pixels) -> Any:
    session = importlib.import_module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: pixels})[0]


def _write_litert(model: keras.Model, path: Path) -> None:
    model.export(str(path), format="litert", verbose=False)


def _run_litert(path: Path, pixels: Pixels) -> Any:
    if importlib.util.find_spec("ai_edge_litert") is not None:
        interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(path))
    else:
        interpreter = importlib.import_module("tensorflow").lite.Interpreter(str(path))
    entry, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(entry, pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry, pixels)
    interpreter.invoke()
    return interpreter.get_tensor(result)


def _write_openvino(model: keras.Model, path: Path) -> None:
    model.export(str(path), format="openvino", verbose=False)


def _run_openvino(path: Path, pixels: Pixels) -> Any:
    compiled = importlib.import_module("openvino").compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(pixels)[0]


TARGETS = {
    target.name: target
    for target in (
        Target("keras", ".keras", (), "", _write_keras, _run_keras),
        Target("saved_model", "", ("tensorflow",), "", _write_saved_model, _run_saved_model),
        Target("onnx", ".onnx", ("onnx", "tf2onnx", "onnxruntime"), "onnx", _write_onnx, _run_onnx),
        Target("litert", ".tflite", ("tensorflow",), "", _write_litert, _run_litert),
        Target("openvino", ".xml", ("openvino",), "openvino", _write_openvino, _run_openvino),
    )
}


@contextlib.contextmanager
def _written_beside(out: Path) -> Iterator[Path]:
    """A path in a fresh folder beside `out`; what was written there takes its place at the end, if nothing was raised."""
    folder = out.parent / f".{out.name}.{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True)
        yield folder / out.name
        for name in sorted(os.listdir(folder)):  # OpenVINO writes two files
            final = out.parent / name
            if final.is_dir():
                shutil.rmtree(final)
            (folder / name).replace(final)
    except OSError as error:
        if isinstance(error, StillframeError):
            raise
        raise EnvironmentFailure(
            f"cannot write {out}: {error.strerror or error}; mend that, then export again"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _silent_output(debug: bool) -> Iterator[None]:
    """While open, what converters print to standard output is not shown: results alone belong there."""
    with contextlib.nullcontext() if debug else contextlib.redirect_stdout(io.StringIO()):
        yield


def _write_description(head: "Head", out: Path) -> None:
    """`<out>.json`: what a user of the model alone must know."""
    described = {
        "classes": list(head.classes),
        "input": "uint8 pixels, batch x height x width x 3, RGB, decoded and resized by the recipe",
        "output": "probability of each class, in the order of classes",
        "fingerprint": head.info.recipe.fingerprint,
        "recipe": head.info.recipe.to_dict(),
        "head": head.info.head,
    }
    path = out.with_name(out.name + ".json")
    try:
        path.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise EnvironmentFailure(f"cannot write {path}: {error.strerror or error}") from error
