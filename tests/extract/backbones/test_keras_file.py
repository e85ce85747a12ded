"""A .keras file as a backbone: features are those that Keras computes of prepared pixels."""

import keras
import numpy as np
import pytest

from extract import extract
from extract.backbones.layers import list_layers
from extract.backbones.weights import remembered_digest
from extract.request import RunOptions
from extract.resolve import resolve
from fit import fit_head, load_head
from store import open_store
from store.errors import UsageError
from tests.extract.backbones.networks import TOML, compute, difference, load
from tests.fit.conftest import colors

MEAN, STD = np.array([0.5, 0.4, 0.3]), np.array([0.25, 0.5, 1.0])
__all__ = ["colors"]
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def build(size=32):
    """A small network with a layer that has layers, which the order of weights must fit."""
    pixels = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(8, 5, strides=4, activation="relu", name="stem")(pixels)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.SeparableConv2D(8, 3, padding="same", activation=keras.activations.silu, name="middle")(x)
    tokens = keras.layers.Reshape((-1, 8))(x) if size is None else keras.layers.Reshape((49, 8))(x)
    tokens = keras.layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens)
    model = keras.Model(pixels, keras.layers.GlobalAveragePooling1D(name="pool")(tokens))
    for number, layer in enumerate(model.layers):
        rng = np.random.default_rng(number)
        layer.set_weights([np.abs(rng.normal(0, 0.5, array.shape)) for array in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture
def place(model, tmp_path):
    """The model's file, and the file that says its preprocessing."""
    model.save(tmp_path / "own.keras")
    write(tmp_path / "own.toml")
    return {"backbone": tmp_path / "own.keras", "preprocessing": tmp_path / "own.toml"}


def write(path, **changes):
    values = {"mean": MEAN.tolist(), "std": STD.tolist(), **changes}
    kept = [line for line in TOML.splitlines() if line.split(" ")[0] in ("image_size", "resize", "rescale")]
    path.write_text("\n".join([*kept, *(f"{key} = {value!r}" for key, value in values.items())]))


def expected(model, layer, channels="rgb"):
    pixels = PIXELS[..., ::-1] if channels == "bgr" else PIXELS
    cut = keras.Model(model.inputs[0], model.get_layer(layer).output)
    return np.asarray(cut((pixels / 255 - MEAN) / STD, training=False))


@pytest.mark.parametrize(
    ("layer", "channels", "runtime"),
    [
        ((), "rgb", "openvino"),
        (("middle",), "bgr", "keras"),
        pytest.param(("middle",), "bgr", "openvino", marks=pytest.mark.slow),
        pytest.param((), "rgb", "keras", marks=pytest.mark.slow),
    ],
)
def test_features_are_those_of_keras(layer, channels, runtime, place, model):
    write(place["preprocessing"], channels=channels)
    loaded, request = load(**place, layer=layer, runtime=runtime)
    assert request.network.layers == (layer or ("pool",))
    assert difference(compute(loaded, PIXELS), expected(model, *request.network.layers, channels)) < 1e-5


def test_layers_are_listed(place):
    points = {point.name: point.shape for point in list_layers(place["backbone"])}
    assert points == {"stem": (7, 7, 8), "norm": (7, 7, 8), "middle": (7, 7, 8), "pool": (8,)}


def test_preprocessing_must_be_named(place):
    with pytest.raises(UsageError, match="does not say how its pixels are to be prepared"):
        load(place["backbone"])


def test_another_size_than_the_models_is_refused(place):
    with pytest.raises(UsageError, match=r"takes images of 32x32 pixels, and its preprocessing makes 48x48"):
        load(**place, image_size=48)


def test_a_model_of_any_size_takes_the_preprocessings(tmp_path):
    pixels = keras.Input((None, None, 3))
    model = keras.Sequential([pixels, keras.layers.Conv2D(4, 3, name="first"), keras.layers.ReLU(name="last")])
    model.save(tmp_path / "own.keras")
    write(tmp_path / "own.toml")
    loaded, request = load(tmp_path / "own.keras", preprocessing=tmp_path / "own.toml", runtime="keras")
    assert (request.network.layers, list(loaded.shapes)) == (("last",), [(30, 30, 4)])
    assert difference(compute(loaded, PIXELS), expected(model, "last")) < 1e-5


@pytest.mark.slow
def test_a_head_on_it_predicts_on_files_and_is_exported(place, colors, tmp_path):
    extract(colors, out=tmp_path / "store", **place)
    store = open_store(tmp_path / "store")
    assert store.recipe.backbone == "keras"
    fit_head(store).save(tmp_path / "head")
    head = load_head(tmp_path / "head")
    features, rows = store.arrays()
    table = head.predict([str(colors / path) for path in rows["path"].to_pylist()])
    found = np.stack([table[name].to_numpy() for name in head.classes], axis=1)
    np.testing.assert_allclose(found, head.predict_features(features), atol=1e-3)
    assert head.export(tmp_path / "model.keras", to="keras") < 1e-4


def test_a_model_that_was_trained_further_has_another_digest(place, model):
    def digest():
        request = resolve(RunOptions("data", out="no-store-yet", **place))
        return remembered_digest(request.network.backbone, request.network.weights)

    first = digest()
    layer = model.get_layer("stem")
    before = layer.get_weights()
    layer.set_weights([array * 2 for array in before])
    model.save(place["backbone"])
    layer.set_weights(before)
    assert digest() != first


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    model = build()
    kernel, bias = model.get_layer("stem").get_weights()
    kernel[0] = np.nan
    model.get_layer("stem").set_weights([kernel, bias])
    model.save(tmp_path / "own.keras")
    write(tmp_path / "own.toml")
    with pytest.raises(UsageError, match=r"layer stem has NaN"):
        load(tmp_path / "own.keras", preprocessing=tmp_path / "own.toml")


def test_a_model_of_something_else_than_images_is_refused(tmp_path):
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(tmp_path / "own.keras")
    write(tmp_path / "own.toml")
    with pytest.raises(UsageError, match="expected one input of batch, height, width"):
        load(tmp_path / "own.keras", preprocessing=tmp_path / "own.toml")


def test_of_several_outputs_none_is_guessed(place, tmp_path):
    pixels = keras.Input((32, 32, 3))
    outputs = [keras.layers.Conv2D(2, 3, name=name)(pixels) for name in ("a", "b")]
    keras.Model(pixels, outputs).save(place["backbone"])
    with pytest.raises(UsageError, match="several outputs: say with --layer"):
        load(**place)
    loaded, _ = load(**place, layer=("b",), runtime="keras")
    assert list(loaded.shapes) == [(30, 30, 2)]
