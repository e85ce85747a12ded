"""Networks and their weights, compared with Keras itself. The fast ones always run, all of them with `make test-all`."""

import errno
import hashlib
import inspect
import io
import math
import zipfile

import h5py
import keras
import numpy as np
import pytest
import skimage.data
from PIL import Image

from extract import extract
from extract.backbones.build import build, cut, cut_points, passages, remainder
from extract.backbones.load import digest, load_network
from extract.backbones.table import BACKBONES, PREPROCESSING, get_backbone
from extract.backbones.weights import Weights, remembered_digest, weights_on_disk
from extract.images.decode import DecodePolicy, decode
from extract.runtimes.convert import convert, model_key
from extract.runtimes.device import CPU, Device
from extract.runtimes.keras import KerasRuntime
from extract.runtimes.model import feature_model
from extract.runtimes.openvino import converted_runtime
from extract.samples import write_samples
from store.errors import EnvironmentFailure, UsageError
from tests.stub import make_images, read_file

FAST = (
    "alexnet", "efficientnet_lite0", "mobilenet_v3_small", "pixels", "squeezenet",
)  # fmt: skip
SAVED = (
    "squeezenet",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("convnext_tiny", "efficientnet_b0", "mobilenet_v2")),
)  # fmt: skip
OUR_NETWORKS = {
    "alexnet",
    "efficientnet_lite0",
    "efficientnet_lite2",
    "inception_v1",
    "inception_v4",
    "pixels",
    "squeezenet",
}
FROM_A_FILE = ("alexnet", "inception_v1", "inception_v4", "squeezenet")
EVERY = [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow], id=name) for name in sorted(BACKBONES)]


def random_network(name, seed=0, **options):
    backbone = get_backbone(name)
    return load_network(backbone, Weights("random", seed=seed), backbone.size, **options)


def photograph(size):
    return np.asarray(Image.fromarray(skimage.data.chelsea()).resize(size[::-1], Image.Resampling.BILINEAR))


def reference(backbone, network, image):
    """What a user writes by hand: Model(preprocess_input(image)).numpy(), with the same weights."""
    if not hasattr(keras.applications, backbone.builder):
        pixels = image[None].astype("float32")
        if backbone.preprocessing != "inside":
            pixels = keras.applications.imagenet_utils.preprocess_input(pixels, mode=backbone.preprocessing)
        return np.asarray(network(pixels))
    builder = getattr(keras.applications, backbone.builder)
    model = builder(weights=None, include_top=False, input_shape=(*backbone.size, 3))
    model.set_weights(network.get_weights())
    preprocess_input = inspect.getmodule(builder).preprocess_input
    return np.asarray(model(preprocess_input(image[None].astype("float32")), training=False))


@pytest.mark.parametrize("name", EVERY)
def test_features_are_those_of_the_reference_and_the_table_is_true(name):
    backbone = get_backbone(name)
    network, _ = random_network(name)
    assert network.count_params() == backbone.parameters
    assert [layer.name for layer in network.layers][-1] == backbone.layer
    image = photograph(backbone.size)
    model = feature_model(network, (backbone.layer,), "none", backbone.preprocessing, "float32")
    expected = reference(backbone, network, image)
    spread = float(expected.max() - expected.min())
    for runtime in (
        KerasRuntime(model, 1, Device(CPU, ("float32",))),
        converted_runtime(convert(model, model_key({"test": name})), "float32", 1),
    ):
        assert tuple(runtime.shapes[0]) == backbone.shape
        (ours,) = runtime.start([image]).result().tensors
        difference = float(np.abs(ours - expected).max())
        print(f"{name}: {runtime.environment['runtime']} {difference / spread:.2e} of range")
        assert difference <= 1e-4 * spread
    assert 0.05 < math.sqrt(float((expected**2).mean())) < 20  # random outputs are of order one
    assert np.abs(expected).max() < np.finfo(np.float16).max


@pytest.mark.parametrize("size", [(224, 224), (299, 299), (100, 150)])
def test_nearest_and_stretch_give_the_pixels_of_the_tutorials(size, tmp_path):
    """`keras.utils.load_img(path, target_size=…)`, whose interpolation is nearest by default."""
    write_samples("photos", tmp_path)
    for path in tmp_path.iterdir():
        policy = DecodePolicy(size, "nearest", "stretch", (255, 255, 255), 10**8)
        expected = keras.utils.img_to_array(keras.utils.load_img(path, target_size=size))
        assert np.array_equal(decode(read_file(path).data, policy).pixels, expected)


def test_the_table_holds_all_of_keras_applications_and_our_own():
    theirs = {name for name in dir(keras.applications) if name[0].isupper()}
    assert {backbone.builder for backbone in BACKBONES.values()} == theirs | OUR_NETWORKS
    assert len(BACKBONES) == len(theirs) + len(OUR_NETWORKS) >= 44
    assert {backbone.preprocessing for backbone in BACKBONES.values()} == set(PREPROCESSING)


@pytest.mark.parametrize(
    ("name", "published"),
    [("alexnet", 60_965_224), ("inception_v1", 6_998_552), ("inception_v4", 42_679_816), ("squeezenet", 1_248_424)],
)
def test_our_own_networks_have_the_published_number_of_parameters(name, published):
    network = build(get_backbone(name), get_backbone(name).size, include_top=True)
    assert sum(math.prod(variable.shape) for variable in network.trainable_weights) == published
    assert network.output_shape == (None, 1000)
    assert network.layers[-1].name == "predictions"


@pytest.mark.parametrize("name", FROM_A_FILE)
def test_a_network_without_weights_to_download_names_the_ways_out(name):
    backbone = get_backbone(name)
    assert weights_on_disk(backbone) is None
    with pytest.raises(UsageError, match=rf"no ImageNet weights of {name}.*--weights FILE.*random"):
        load_network(backbone, Weights("imagenet"), backbone.size)


def test_pixels_are_the_image_from_0_to_1_and_need_no_weights(tmp_path):
    backbone = get_backbone("pixels")
    network, found = load_network(backbone, Weights("imagenet"), (20, 30))
    assert remembered_digest(backbone, Weights("imagenet")) == found == hashlib.sha256().hexdigest()
    assert list(cut_points(network)) == [("rescaling", (20, 30, 3))]
    image = photograph((20, 30))
    np.testing.assert_allclose(np.asarray(network(image[None])), image[None] / np.float32(255), rtol=1e-6)
    (tmp_path / "some.h5").write_bytes(b"")
    with pytest.raises(UsageError, match="pixels has no weights; leave --weights out"):
        load_network(backbone, Weights.parse(str(tmp_path / "some.h5")), (20, 30))


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
@pytest.mark.parametrize(("image", "expected"), [("chelsea", 285), ("coffee", 967)])
def test_embedded_weights_name_the_cat_and_the_cup(name, image, expected):
    backbone = get_backbone(name)
    network, _ = load_network(backbone, Weights("imagenet"), backbone.size, include_top=True)
    pixels = Image.fromarray(getattr(skimage.data, image)()).resize(backbone.size[::-1], Image.Resampling.BILINEAR)
    probabilities = np.asarray(network(np.asarray(pixels)[None].astype("float32")))[0]
    assert probabilities.argmax() == expected
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)


def test_an_unknown_backbone_is_refused_with_the_nearest_names():
    for wrong, near in (("InceptionV3", "inception_v3"), ("resnet-50", "resnet50"), ("vgg", "vgg16")):
        with pytest.raises(UsageError, match=near):
            get_backbone(wrong)


# Cutting


def test_layer_names_are_those_of_a_fresh_process_however_often_it_is_built():
    backbone = get_backbone("mobilenet_v3_small")
    names = [[layer.name for layer in build(backbone, (64, 64)).layers] for _ in range(2)]
    assert names[0] == names[1]
    assert backbone.layer == names[1][-1]


def test_every_cut_point_can_be_cut_at_nested_ones_too():
    backbone = get_backbone("convnext_tiny")
    network, _ = load_network(backbone, Weights("random"), (64, 64))
    points = dict(cut_points(network))
    nested = [name for name in points if "/" in name]
    assert "convnext_tiny_downsampling_block_1/convnext_tiny_downsampling_conv_1" in nested
    chosen = (*nested, "convnext_tiny_stem", backbone.layer)
    tensors = cut(network, chosen)(np.zeros((1, 64, 64, 3), np.float32))
    assert [tuple(tensor.shape[1:]) for tensor in tensors] == [points[name] for name in chosen]


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        pytest.param("convnext_tiny", 64, "convnext_tiny_downsampling_block_1", marks=pytest.mark.slow),
        ("efficientnet_lite0", 64, "block5c_add"),
        pytest.param("inception_v3", 96, "mixed8", marks=pytest.mark.slow),
        ("mobilenet_v2", 64, "block_13_project_BN"),
        pytest.param("resnet50", 64, "conv4_block6_out", marks=pytest.mark.slow),
        ("vgg16", 64, "block4_pool"),
    ],
)
def test_a_network_cut_in_two_computes_the_same(name, size, layer):
    network, _ = load_network(get_backbone(name), Weights("random"), (size, size))
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3)).astype("float32")
    expected = network.predict_on_batch(pixels)
    tensor = keras.Model(network.input, cut(network, (layer,)).output[0]).predict_on_batch(pixels)
    rest = remainder(network, layer)
    np.testing.assert_allclose(rest.predict_on_batch(tensor), expected, atol=1e-4)
    assert rest.count_params() < network.count_params()


def test_a_network_can_be_continued_where_nothing_flows_past():
    known = get_backbone("efficientnet_lite0")
    network = build(known, (64, 64))
    usable = passages(network)
    assert usable[0] == "rescaling"
    assert usable[-1] == "block7a_project_bn"
    layers = [layer.name for layer in network.layers]
    assert [name for name in layers if name.startswith("block3b") and name in usable] == ["block3b_add"]
    for layer in layers[1:]:  # Keras refuses a graph that something flows past, and one without a layer
        if layer in usable:
            assert remainder(network, layer).count_params() > 0
        else:
            with pytest.raises(UsageError, match="cannot be continued"):
                remainder(network, layer)


@pytest.mark.parametrize(
    ("name", "layer", "nearest"),
    [
        ("resnet50", "conv4_block2_1_conv", "conv4_block1_out and conv4_block2_add"),
        ("inception_v3", "mixed9_0", "mixed8 and mixed9"),
        ("inception_v3", "mixed10", "mixed9"),
        (
            "convnext_tiny",
            "convnext_tiny_downsampling_block_1/convnext_tiny_downsampling_conv_1",
            "convnext_tiny_downsampling_block_1 and convnext_tiny_downsampling_block_2",
        ),
    ],
)
def test_the_nearest_layers_to_continue_from_are_named(name, layer, nearest):
    with pytest.raises(UsageError, match=f"cannot be continued from {layer}: .* can be used: {nearest};"):
        remainder(build(get_backbone(name), (96, 96)), layer)


def test_a_nested_cut_gives_what_the_network_computes_there():
    backbone = get_backbone("convnext_tiny")
    network, _ = load_network(backbone, Weights("random"), (64, 64))
    image = photograph((64, 64))[None].astype("float32")
    stem = network.get_layer("convnext_tiny_stem")
    by_hand = stem(network.get_layer("convnext_tiny_prestem_normalization")(image))
    whole, last = cut(network, ("convnext_tiny_stem", "convnext_tiny_stem/convnext_tiny_stem_layernorm"))(image)
    np.testing.assert_allclose(np.asarray(whole), np.asarray(by_hand), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.asarray(last), np.asarray(by_hand), rtol=1e-5, atol=1e-5)


def test_an_unknown_layer_is_refused_with_the_nearest_names():
    network = build(get_backbone("mobilenet_v2"), (64, 64))
    with pytest.raises(UsageError, match=r"no layer 'block_6_expand_rel'.*block_6_expand_relu"):
        cut(network, ("block_6_expand_rel",))


def test_pooling_and_several_layers_give_one_output_each():
    backbone = get_backbone("mobilenet_v2")
    network, _ = load_network(backbone, Weights("random"), (64, 64))
    layers = ("block_6_expand_relu", "out_relu")
    image = photograph((64, 64))[None]
    plain = feature_model(network, layers, "none", backbone.preprocessing, "float32").predict_on_batch(image)
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        model = feature_model(network, layers, pooling, backbone.preprocessing, "float32")
        for pooled, tensor in zip(model.predict_on_batch(image)[::2], plain[::2], strict=True):
            np.testing.assert_allclose(pooled, reduce(tensor, axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_a_size_that_a_network_cannot_take_is_refused():
    for name, size in (("inception_v3", 299), ("inception_v4", 299), ("alexnet", 227), ("squeezenet", 224)):
        message = rf"{name} cannot take images of 10x10.*its own size is {size}x{size}"
        with pytest.raises(UsageError, match=message):
            build(get_backbone(name), (10, 10))


# Weights


def test_random_weights_depend_on_the_seed_alone():
    first, again, other = (random_network("mobilenet_v2", seed)[1] for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("include_top", [False, True])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
@pytest.mark.parametrize("name", SAVED)
def test_every_kind_of_weights_file_gives_the_same_digest_with_and_without_top(name, suffix, include_top, tmp_path):
    network, expected = random_network(name, 3)
    if include_top:
        network, _ = random_network(name, 3, include_top=True)
    path = tmp_path / f"saved{suffix}"
    if suffix == ".weights.h5":
        network.save_weights(path)
    else:
        network.save(path)
    loaded, found = load_network(get_backbone(name), Weights.parse(str(path)), get_backbone(name).size)
    assert found == expected or include_top  # the top takes numbers of its own from the generator
    arrays = network.get_weights()
    for ours, theirs in zip(loaded.get_weights(), arrays[: len(loaded.get_weights())], strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
def test_weights_of_another_network_are_refused_with_the_first_layers_that_differ(suffix, tmp_path):
    network, _ = random_network("mobilenet")
    path = tmp_path / f"saved{suffix}"
    if suffix == ".weights.h5":
        network.save_weights(path)
    else:
        network.save(path)
    backbone = get_backbone("mobilenet_v2")
    with pytest.raises(UsageError, match=r"does not fit mobilenet_v2: .* in the network, .* in the file"):
        load_network(backbone, Weights.parse(str(path)), backbone.size)


def test_a_file_that_is_no_weights_file_is_refused(tmp_path):
    backbone = get_backbone("mobilenet_v2")
    for name, content in (("a.h5", b"text"), ("b.keras", b"PK"), ("c.weights.h5", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match="cannot be read"):
            load_network(backbone, Weights.parse(str(tmp_path / name)), (64, 64))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(UsageError, match="holds no Keras weights"):
        load_network(backbone, Weights.parse(str(tmp_path / "d.h5")), (64, 64))
    with pytest.raises(UsageError, match="no such file"):
        Weights.parse(str(tmp_path / "missing.h5"))
    with pytest.raises(UsageError, match="whole number"):
        Weights.parse("random:x")
    with pytest.raises(UsageError, match="whole number"):
        Weights.parse(f"random:{10**1000}")


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_a_weights_file_that_cannot_be_read_now_is_not_called_wrong(suffix, tmp_path, monkeypatch):
    """A passing trouble of the disk: the same command can succeed later."""
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(b"")

    def failing(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("zipfile.ZipFile" if suffix == ".keras" else "h5py.File", failing)
    with pytest.raises(EnvironmentFailure, match=r"mine\.\S+ cannot be read now .*Input/output error"):
        load_network(get_backbone("squeezenet"), Weights.parse(str(path)), (64, 64))


def save_poisoned(path, values, layer="fire5_squeeze1x1"):
    """Save SqueezeNet with values in place of the first weights of a layer; returns how many weights the layer has."""
    network, _ = load_network(get_backbone("squeezenet"), Weights("random"), (64, 64))
    kernel, bias = network.get_layer(layer).get_weights()
    kernel.flat[: len(values)] = values
    network.get_layer(layer).set_weights([kernel, bias])
    if str(path).endswith(".weights.h5"):
        network.save_weights(path)
    else:
        network.save(path)
    return kernel.size + bias.size


@pytest.mark.parametrize("values", [[np.nan], [np.nan, np.inf, -np.inf]], ids=["NaN", "infinities too"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
def test_weights_that_are_not_finite_are_refused_with_the_layer_and_their_number(suffix, values, tmp_path):
    path = tmp_path / f"mine{suffix}"
    count = save_poisoned(path, values)
    weights = Weights.parse(str(path))
    message = rf"mine\{suffix}: layer fire5_squeeze1x1 has NaN or infinity in {len(values)} of its {count:,} values"
    with pytest.raises(UsageError, match=message):
        load_network(get_backbone("squeezenet"), weights, (64, 64))
    assert remembered_digest(get_backbone("squeezenet"), weights) is None


@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_weights_that_are_not_finite_end_a_run_before_any_image(runtime, tmp_path):
    save_poisoned(tmp_path / "mine.weights.h5", [np.nan])
    make_images(tmp_path / "data", 2)
    with pytest.raises(UsageError, match="has NaN or infinity in 1 of its"):
        extract(
            tmp_path / "data",
            tmp_path / "store",
            backbone="squeezenet",
            weights=str(tmp_path / "mine.weights.h5"),
            image_size=64,
            runtime=runtime,
        )
    assert not (tmp_path / "store").exists()


def test_links_in_a_weights_file_are_never_followed(tmp_path):
    network, _ = random_network("mobilenet_v2")
    network.save_weights(tmp_path / "good.weights.h5")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.zeros(3)
    evil = tmp_path / "evil.weights.h5"
    evil.write_bytes((tmp_path / "good.weights.h5").read_bytes())
    with h5py.File(evil, "a") as file:
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
    inside = io.BytesIO(evil.read_bytes())
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        archive.writestr("model.weights.h5", inside.getvalue())
    for path in (evil, tmp_path / "evil.keras"):
        with pytest.raises(UsageError, match="holds a link"):
            load_network(get_backbone("mobilenet_v2"), Weights.parse(str(path)), (224, 224))


def test_published_efficientnet_weights_from_a_file_mean_what_they_mean_to_keras(tmp_path, monkeypatch):
    """Keras adds a layer for weights="imagenet" alone; its own builder, fed our file, is the reference."""
    backbone = get_backbone("efficientnet_b0")
    network, _ = random_network("efficientnet_b0")
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights([np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225]), np.int32(0)])
    path = tmp_path / "efficientnetb0_notop.h5"
    network.save(path)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(path))
    from_keras, keras_digest = load_network(backbone, Weights("imagenet"), backbone.size)
    from_file, file_digest = load_network(backbone, Weights.parse(str(path)), backbone.size)
    image = photograph(backbone.size)[None].astype("float32")
    expected = np.asarray(from_keras(image))
    assert np.abs(np.asarray(from_file(image)) - expected).max() <= 1e-4 * np.ptp(expected)
    assert keras_digest == file_digest
    assert sum(isinstance(layer, keras.layers.Rescaling) for layer in from_keras.layers) == 2


def test_a_digest_is_remembered_until_the_file_changes(tmp_path):
    backbone = get_backbone("mobilenet_v2")
    network, _ = random_network("mobilenet_v2", 1)
    path = tmp_path / "mine.weights.h5"
    network.save_weights(path)
    chosen = Weights.parse(str(path))
    assert remembered_digest(backbone, chosen) is None
    _, value = load_network(backbone, chosen, (64, 64))
    assert remembered_digest(backbone, chosen) == value == digest(network)
    random_network("mobilenet_v2", 2)[0].save_weights(path)
    assert remembered_digest(backbone, chosen) is None


def test_weights_that_cannot_be_downloaded_name_the_ways_out(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def offline(*_, **__):
        raise OSError("URL fetch failure on https://…: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", offline)
    backbone = get_backbone("resnet50")
    assert weights_on_disk(backbone) is None
    with pytest.raises(EnvironmentFailure) as caught:
        load_network(backbone, Weights("imagenet"), backbone.size)
    for way_out in ("extract fetch resnet50", "--weights FILE", "--backbone efficientnet_lite0", "Name or service"):
        assert way_out in str(caught.value)
    assert caught.value.exit_code == 74
    with pytest.raises(EnvironmentFailure) as caught:
        load_network(backbone, Weights("imagenet"), backbone.size, include_top=True)
    assert "~/.keras/models/resnet50_weights_tf_dim_ordering_tf_kernels.h5 here" in str(caught.value)
    assert "a file that has the classifier" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mobilenet", "mobilenet_1_0_224_tf.h5"),
        ("mobilenet_v2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"),
        ("mobilenet_v3_large", "weights_mobilenet_v3_large_224_1.0_float.h5"),
        ("efficientnet_v2_b0", "efficientnetv2-b0.h5"),
        ("nasnet_large", "nasnet_large.h5"),
    ],
)
def test_weights_with_the_classifier_have_their_own_name(name, file):
    assert get_backbone(name).classifier_file == file


def test_embedded_weights_that_were_tampered_with_are_refused(monkeypatch, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not them")
    monkeypatch.setattr("extract.backbones.weights_package.package_file", lambda _: path)
    with pytest.raises(EnvironmentFailure, match="reinstall the package"):
        load_network(get_backbone("efficientnet_lite0"), Weights("imagenet"), (224, 224))
