"""A head and its backbone as one Keras model from pixels to probabilities, made of Keras' own layers alone.

So it needs none of this package's code to be loaded, and every converter knows its layers.
"""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from extract.api import (
    FileBackbone,
    cut,
    keras_defaults,
    load_keras_model,
    load_network,
    recipe_backbone,
    recipe_weights,
)
from fit.block_extractor import WeightsPlace, networks, pixel_inputs, place_weights
from fit.export.base import FittedHead, input_names
from fit.head_info import Block
from fit.heads.build import find_kind
from fit.heads.keras import linear_model
from fit.heads.linear import linear_form
from fit.heads.table import HEADS, is_custom
from store.errors import UsageError
from store.files.names import file_path
from store.preprocessing import Preprocessing

# The means of ImageNet's pixels as keras.applications.imagenet_utils has them: of 0..255 in BGR, and of 0..1 in RGB
# with their standard deviations.
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_DEVIATION = (0.229, 0.224, 0.225)


def exported_model(head: FittedHead, weights: WeightsPlace) -> keras.Model:
    """A head and its backbones as one model from pixels to probabilities, with an input for each group of `pixel_inputs`.

    Args:
        head: a Keras head, or a linear scikit-learn one.
        weights: where the backbone's weights are now; None: where they were when the features were extracted.

    Raises:
        UsageError: the head cannot be written as layers, or the weights cannot be had.
    """
    layers_of_head = head_model(head)
    blocks = place_weights(head.info.blocks, weights)
    if len(blocks) == 1:
        network, preprocessing = _load(blocks[0])
        return whole_model(network, blocks[0].output.layer, blocks[0].output.pooling, preprocessing, layers_of_head)
    groups = pixel_inputs(blocks)
    inputs, tensors = [], dict[int, keras.KerasTensor]()
    for name, group in zip(input_names(len(groups)), groups, strict=True):
        with keras_defaults():
            pixels = keras.Input((*blocks[group[0]].recipe.image_size, 3), dtype="uint8", name=name)
        inputs.append(pixels)
        for members in networks(blocks, group):
            network, preprocessing = _load(blocks[members[0]])
            outputs = [blocks[number].output for number in members]
            cuts = tuple(output.layer for output in outputs)
            with keras_defaults():
                found = _features(network, cuts, outputs[0].pooling, _preprocessed(pixels, preprocessing, members[0]))
            tensors.update(zip(members, found, strict=True))
    with keras_defaults():
        given = [tensors[number] for number in range(len(blocks))]
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], layers_of_head(given), name="stillframe")


def _load(block: Block) -> tuple[keras.Model, str | Preprocessing]:
    """A block's network, and how it wants its pixels."""
    backbone = recipe_backbone(block.recipe)
    chosen = recipe_weights(block.recipe, file_path(block.weights))
    if isinstance(backbone, FileBackbone):
        network, _ = load_keras_model(backbone, chosen, block.recipe.image_size)
    else:
        network, _ = load_network(backbone, chosen, block.recipe.image_size)
    return network, backbone.preprocessing


def _features(
    network: keras.Model, cuts: tuple[str, ...], pooling: str, values: keras.KerasTensor
) -> list[keras.KerasTensor]:
    """The outputs of those layers, the spatial ones pooled."""
    found = cut(network, cuts)(values)
    tensors = list(found) if isinstance(found, list | tuple) else [found]
    return [_reduced(tensor, pooling) if len(tensor.shape) == 4 else tensor for tensor in tensors]


def head_model(head: FittedHead) -> keras.Model:
    """A head as a Keras model from the store's features (rows, *shape), those of each block as a list where there are more than
    one, to the probabilities of all classes (rows, classes).

    Raises:
        UsageError: the head is neither a Keras head nor a linear one.
    """
    if not head.is_network and (is_custom(head.info.head) or not find_kind(head.info.head).exports):
        linear = ", ".join(kind.name for kind in HEADS.values() if kind.linear)
        raise UsageError(
            f"the head {head.info.head} cannot be written as layers, only Keras heads and the linear ones ({linear}) can: "
            "fit one of those, or use `fit predict`"
        )
    blocks = head.info.blocks
    with keras_defaults():
        names = ["features"] if len(blocks) == 1 else [f"features_{number}" for number in range(1, len(blocks) + 1)]
        inputs = [keras.Input(block.output.shape, name=name) for block, name in zip(blocks, names, strict=True)]
        inner = head.model if head.is_network else linear_model(linear_form(head.model))
        reduced = [_reduced(given, block.reduction) for given, block in zip(inputs, blocks, strict=True)]
        if len(blocks) > 1:
            scaled = [layers.Rescaling(block.scale)(given) for given, block in zip(reduced, blocks, strict=True)]
            reduced = [layers.Concatenate()(scaled)]
        probabilities = inner(reduced[0])
        if probabilities.shape[-1] == 1 and not head.info.task.regression:  # the second of two classes
            probabilities = layers.Concatenate()([1.0 - probabilities, probabilities])
        return keras.Model(inputs if len(blocks) > 1 else inputs[0], probabilities, name="head")


def whole_model(
    network: keras.Model, layer: str, pooling: str, preprocessing: str | Preprocessing, head: keras.Model
) -> keras.Model:
    """One model from uint8 pixels (batch, height, width, 3) to probabilities (batch, classes).

    Args:
        network: a backbone without its classifier.
        layer: the name of the layer whose output the head takes.
        pooling: what is done to that output over height and width: avg, max, flatten or none.
        preprocessing: how the backbone wants its pixels: tf, torch, caffe or inside; or the data of a model file.
        head: from features to probabilities.

    Raises:
        UsageError: the network has no such layer.
    """
    with keras_defaults():
        pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="pixels")
        (tensor,) = _features(network, (layer,), pooling, _preprocessed(pixels, preprocessing))
        return keras.Model(pixels, head(tensor), name="stillframe")


def _reduced(tensor: keras.KerasTensor, reduction: str) -> keras.KerasTensor:
    if len(tensor.shape) == 2 or reduction == "none":
        return tensor
    kinds = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D, "flatten": layers.Flatten}
    return kinds[reduction]()(tensor)


def _preprocessed(pixels: keras.KerasTensor, mode: str | Preprocessing, number: int = 0) -> keras.KerasTensor:
    """keras.applications.imagenet_utils.preprocess_input, or that of a model file, in layers that every converter knows.

    `number` is that of the network, for layers have different names.
    """
    suffix = f"_{number}" if number else ""
    if mode == "tf":
        return layers.Rescaling(1 / 127.5, -1.0, name=f"preprocess{suffix}")(pixels)
    values = layers.Rescaling(1.0, name=f"as_float{suffix}")(pixels)
    if mode == "inside":
        return values
    kernel, bias = _mixing(mode)
    mix = layers.Conv2D(3, 1, trainable=False, name=f"preprocess{suffix}")
    mixed = mix(values)
    mix.set_weights([kernel.reshape(1, 1, 3, 3).astype(np.float32), bias.astype(np.float32)])
    return mixed


def _mixing(mode: str | Preprocessing) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Preprocessing as a product with (3, 3) and a sum with (3,) numbers."""
    if isinstance(mode, Preprocessing):
        std = np.array(mode.std)
        order = slice(None, None, -1) if mode.channels == "bgr" else slice(None)
        return np.eye(3)[order] * mode.rescale / std, -np.array(mode.mean) / std
    if mode == "caffe":
        return np.eye(3)[::-1], -np.array(_CAFFE_MEAN)
    return np.eye(3) / 255 / _TORCH_DEVIATION, -np.array(_TORCH_MEAN) / _TORCH_DEVIATION
