"""Transformers in OpenVINO: attention becomes one operation, and a call takes as many images as suit the network."""

import keras
import numpy as np
import openvino
import pytest

from extract.runtimes.convert import convert, model_key
from extract.runtimes.openvino import converted_runtime, images_per_call

SIDE, PATCH = 32, 8
CHANNELS = 24


def usual(tokens):
    return keras.layers.MultiHeadAttention(num_heads=3, key_dim=8)(tokens, tokens)


def scaled(tokens):
    layer = keras.layers.MultiHeadAttention(num_heads=3, key_dim=8)
    layer.build(tokens.shape, tokens.shape)
    layer._inverse_sqrt_key_dim *= 0.5
    return layer(tokens, tokens)


def masked(tokens):
    return keras.layers.MultiHeadAttention(num_heads=3, key_dim=8)(tokens, tokens, use_causal_mask=True)


def transformer(attention=usual, patch=PATCH, blocks=2):
    """uint8 pixels -> the tokens' mean, and the largest magnitude as `extract.runtimes.model` adds it."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    patches = keras.layers.Conv2D(CHANNELS, patch, patch)(keras.layers.Rescaling(1 / 255)(pixels))
    tokens = keras.layers.Reshape((-1, CHANNELS))(patches)
    for _ in range(blocks):
        tokens = keras.layers.LayerNormalization()(tokens + attention(tokens))
        tokens = tokens + keras.layers.Dense(CHANNELS)(keras.layers.Dense(96, activation="gelu")(tokens))
    mean = keras.layers.GlobalAveragePooling1D()(tokens)
    return keras.Model(pixels, [mean, keras.ops.max(keras.ops.abs(mean), axis=1)])


def converted(model, name):
    return convert(model, model_key({"test": name}))


def operations(path):
    return [node.get_type_name() for node in openvino.Core().read_model(path).get_ops()]


@pytest.mark.parametrize(("attention", "fused"), [(usual, 2), (scaled, 0), (masked, 0)])
def test_attention_is_one_operation_and_what_is_not_usual_stays_as_it_is(attention, fused):
    model = transformer(attention)
    path = converted(model, attention.__name__)
    assert operations(path).count("ScaledDotProductAttention") == fused
    pixels = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    found = converted_runtime(path, "float32", 5).start(list(pixels)).result().tensors[0]
    np.testing.assert_allclose(found, model(pixels)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("tokens", "images"), [(16, 16), (64, 16), (256, 4), (1024, 1)])
def test_the_fewer_tokens_the_more_images_take_part_in_a_call(tokens, images):
    model = transformer(patch=SIDE // int(tokens**0.5), blocks=4)
    assert converted_runtime(converted(model, tokens), "float32", None).batch_size == images


def test_convolutional_networks_take_one_image():
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    convolved = keras.layers.Conv2D(64, 5)(keras.layers.Conv2D(16, 3)(keras.layers.Rescaling(1 / 255)(pixels)))
    mean = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(convolved))
    model = keras.Model(pixels, [mean, keras.ops.max(keras.ops.abs(mean), axis=1)])
    network = openvino.Core().read_model(converted(model, "convolutional"))
    network.reshape([1, SIDE, SIDE, 3])
    assert images_per_call(network) == 1


def test_one_image_gets_the_same_alone_as_among_others():
    runtime = converted_runtime(converted(transformer(), "alone"), "float32", None)
    pixels = list(np.random.default_rng(2).integers(0, 256, (21, SIDE, SIDE, 3), dtype=np.uint8))
    assert runtime.batch_size == 16
    pending = [runtime.start(part) for part in (pixels[:16], pixels[16:], pixels[:1], pixels[20:])]
    full, short, first, last = (call.result().tensors[0] for call in pending)
    assert [len(part) for part in (full, short, first, last)] == [16, 5, 1, 1]
    np.testing.assert_allclose(first, full[:1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, short[4:], rtol=1e-5, atol=1e-6)
