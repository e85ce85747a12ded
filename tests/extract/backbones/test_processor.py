"""Preprocessing as data: every kind of image processor, in old and new spellings, timm's, and TOML files."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from extract.backbones.chosen import choose_network
from extract.backbones.folder import read_folder
from extract.backbones.processor import EXAMPLE, from_processor_config, from_timm, read_processor_file
from extract.images.decode import DecodePolicy, decode
from extract.request import RunOptions
from store.errors import UsageError
from tests.extract.backbones.networks import FOLDER, model_of

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NUMBERS = {"image_mean": MEAN, "image_std": STD}


def read(**values):
    return from_processor_config({**NUMBERS, **values}, "nchw", "preprocessor_config.json")


def geometry(found):
    return found.image_size, found.crop, found.resize_to, found.resize


BIT = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "resample": 3}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # ViT: google/vit-base-patch16-224, as it is today and as feature extractors wrote it.
        (
            {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 2},
            ((224, 224), "stretch", (), "bilinear"),
        ),
        (
            {"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "resample": 2, "do_normalize": True},
            ((224, 224), "stretch", (), "bilinear"),
        ),
        (
            {"image_processor_type": "ViTImageProcessorFast", "size": {"height": 224, "width": 240}, "resample": 3},
            ((224, 240), "stretch", (), "bicubic"),
        ),
        # DeiT: facebook/deit-base-distilled-patch16-224.
        (
            {"feature_extractor_type": "DeiTFeatureExtractor", "size": 256, "crop_size": 224, "resample": 3},
            ((224, 224), "center", (256, 256), "bicubic"),
        ),
        # DINOv2: facebook/dinov2-small.
        ({"image_processor_type": "BitImageProcessor", **BIT}, ((224, 224), "center", (256,), "bicubic")),
        ({"image_processor_type": "BitImageProcessorFast", **BIT}, ((224, 224), "center", (256,), "bicubic")),
        # CLIP: openai/clip-vit-base-patch32.
        (
            {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, "resample": 3},
            ((224, 224), "center", (224,), "bicubic"),
        ),
        # SigLIP: google/siglip-base-patch16-224.
        (
            {"image_processor_type": "SiglipImageProcessor", "size": {"height": 224, "width": 224}, "resample": 3},
            ((224, 224), "stretch", (), "bicubic"),
        ),
        # ConvNeXt: facebook/convnextv2-tiny-22k-224 and -384; a crop below 384 pixels alone.
        (
            {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875, "resample": 3},
            ((224, 224), "center", (256,), "bicubic"),
        ),
        (
            {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}, "resample": 3},
            ((384, 384), "stretch", (), "bicubic"),
        ),
        # EfficientNet: google/efficientnet-b0.
        (
            {
                "image_processor_type": "EfficientNetImageProcessor",
                "size": {"height": 224, "width": 224},
                "resample": 0,
            },
            ((224, 224), "stretch", (), "nearest"),
        ),
        (
            {
                "image_processor_type": "EfficientNetImageProcessor",
                "size": {"height": 346, "width": 346},
                "crop_size": {"height": 289, "width": 289},
                "do_center_crop": True,
                "resample": 0,
            },
            ((289, 289), "center", (346, 346), "nearest"),
        ),
    ],
)
def test_each_kind_of_image_processor_is_read(values, expected):
    assert geometry(read(**values)) == expected


def test_numbers_are_those_of_the_file():
    found = read(image_processor_type="BitImageProcessor", **BIT).preprocessing
    assert (found.mean, found.std, found.rescale, found.channels) == (tuple(MEAN), tuple(STD), 1 / 255, "rgb")
    plain = read(image_processor_type="BitImageProcessor", **BIT, do_rescale=False, do_normalize=False).preprocessing
    assert (plain.mean, plain.std, plain.rescale) == ((0, 0, 0), (1, 1, 1), 1)
    whole = read(
        image_processor_type="BitImageProcessor", **BIT, image_mean=[0, 0, 0], image_std=[1, 1, 1]
    ).preprocessing
    assert json.dumps(whole.to_dict()["mean"]) == "[0.0, 0.0, 0.0]"  # 0 and 0.0 are one recipe


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("offset", [True, False])
def test_the_two_steps_of_efficientnet_are_one_formula(offset, top):
    found = read(
        image_processor_type="EfficientNetImageProcessor",
        size=224,
        resample=0,
        rescale_offset=offset,
        include_top=top,
        rescale_factor=1 / 127.5,
    ).preprocessing
    pixels = np.arange(256.0)[:, None]
    expected = (pixels / 127.5 - offset - MEAN) / STD / (np.array(STD) if top else 1)
    np.testing.assert_allclose((pixels * found.rescale - found.mean) / found.std, expected, rtol=1e-9, atol=1e-9)


VIT = {"image_processor_type": "ViTImageProcessor", "size": 224, "resample": 2, **NUMBERS}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_processor_type": "FlavaImageProcessor"}, "'FlavaImageProcessor'.*expected one of ViTImageProcessor"),
        ({"image_processor_type": None}, "image_processor_type"),
        ({"size": {"longest_edge": 224}}, "size is .*expected height and width, or shortest_edge"),
        ({"size": {"shortest_edge": 224}}, "nothing is cut out"),
        ({"size": None}, "size is None"),
        ({"size": 10**9}, "expected a whole number"),
        ({"size": True}, "size is True"),
        ({"resample": 5}, "resample is 5"),
        ({"resample": None}, "resample is None"),
        ({"do_resize": False}, "not resized"),
        ({"do_pad": True}, "padded"),
        ({"image_mean": None}, "image_mean|mean is None"),
        ({"image_mean": [0.5]}, "mean is"),
        ({"image_std": [0.5, 0.5, 0]}, "std"),
        ({"image_std": [0.5, 0.5, float("nan")]}, "std"),
        ({"rescale_factor": "x"}, "rescale is 'x'"),
        ({"do_center_crop": True, "crop_size": 300}, "too small to crop"),
        ({"do_center_crop": True, "crop_size": None}, "crop_size is None"),
    ],
)
def test_what_a_file_does_not_say_is_never_guessed(changes, message):
    with pytest.raises(UsageError, match=message) as raised:
        from_processor_config({**VIT, **changes}, "nchw", "preprocessor_config.json")
    assert EXAMPLE in str(raised.value)


def test_a_missing_mean_is_not_that_of_imagenet():
    values = {name: value for name, value in VIT.items() if name != "image_mean"}
    with pytest.raises(UsageError, match="image_mean must be given"):
        from_processor_config(values, "nchw", "preprocessor_config.json")


# timm

TIMM = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "crop_mode": "center",
    "mean": MEAN,
    "std": STD,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ((224, 224), "center", (248,), "bicubic")),  # floor(224 / 0.9)
        ({"crop_pct": 1.0}, ((224, 224), "center", (224,), "bicubic")),
        ({"crop_mode": "squash", "crop_pct": 1}, ((224, 224), "stretch", (), "bicubic")),
        ({"crop_mode": "squash", "interpolation": "bilinear"}, ((224, 224), "center", (248, 248), "bilinear")),
    ],
)
def test_the_config_of_timm_is_read(changes, expected):
    found = from_timm({"pretrained_cfg": {**TIMM, **changes}}, "nchw", "config.json")
    assert geometry(found) == expected
    assert (found.preprocessing.mean, found.preprocessing.rescale) == (tuple(MEAN), 1 / 255)


@pytest.mark.parametrize(
    "changes", [{"crop_mode": "border"}, {"interpolation": "random"}, {"crop_pct": 0}, {"input_size": [1, 224, 224]}]
)
def test_a_config_of_timm_that_says_something_else_is_refused(changes):
    with pytest.raises(UsageError, match=r"config\.json"):
        from_timm({"pretrained_cfg": {**TIMM, **changes}}, "nchw", "config.json")
    with pytest.raises(UsageError, match="lacks"):
        from_timm({"pretrained_cfg": {"mean": MEAN}}, "nchw", "config.json")


def test_a_folder_of_timm_is_a_backbone(tmp_path):
    shutil.copy(model_of("dinov2"), tmp_path / "model.onnx")
    config = {"architecture": "tiny", "pretrained_cfg": {**TIMM, "input_size": [3, 32, 32]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    request = choose_network(RunOptions("data", backbone=tmp_path, layer="pooler_output"))
    assert (request.geometry.image_size, request.geometry.resize_to) == ((32, 32), (35,))


# TOML


def write(path, **changes):
    """A file from the example, with lines replaced; None leaves one out."""
    lines = []
    for line in EXAMPLE.splitlines():
        key = line.partition(" ")[0]
        if key not in changes:
            lines.append(line)
    lines += [f"{key} = {value}" for key, value in changes.items() if value is not None]
    path.write_text("\n".join(lines))
    return path


def test_the_example_of_the_message_works(tmp_path):
    (tmp_path / "x.toml").write_text(EXAMPLE)
    found = read_processor_file(tmp_path / "x.toml", "nchw")
    assert geometry(found) == ((224, 224), "center", (256,), "bicubic")
    assert found.preprocessing == read(image_processor_type="BitImageProcessor", **BIT).preprocessing
    assert found.prefix_tokens is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"shortest_edge": None}, ((224, 224), "stretch", (), "bicubic")),
        ({"shortest_edge": None, "resize_to": "[256, 240]"}, ((224, 224), "center", (256, 240), "bicubic")),
        ({"image_size": "[128, 96]"}, ((128, 96), "center", (256,), "bicubic")),
        ({"resize": '"area"'}, ((224, 224), "center", (256,), "area")),
    ],
)
def test_a_file_says_the_geometry(changes, expected, tmp_path):
    assert geometry(read_processor_file(write(tmp_path / "x.toml", **changes), "nchw")) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": None}, "mean must be given"),
        ({"std": None, "rescale": None}, "rescale, std must be given"),
        ({"gamma": "2.2"}, "gamma is not known"),
        ({"resize": '"cubic"'}, "resize is 'cubic'"),
        ({"shortest_edge": "200"}, "too small"),
        ({"resize_to": "[256, 256]"}, "both given"),
        ({"channels": '"gbr"'}, "channels is 'gbr'"),
        ({"layout": '"nhwc"'}, "layout is nhwc, and the model's input has nchw"),
        ({"rescale": "0"}, "rescale is 0"),
        ({"mean": "0.5"}, "mean is 0.5"),
        ({"image_size": "[1, 2, 3]"}, "image_size is"),
        ({"prefix_tokens": "-1"}, "prefix_tokens is -1"),
    ],
)
def test_a_wrong_file_is_refused_with_one_that_works(changes, message, tmp_path):
    with pytest.raises(UsageError, match=message) as raised:
        read_processor_file(write(tmp_path / "x.toml", **changes), "nchw")
    assert EXAMPLE in str(raised.value)


def test_a_layout_that_nothing_shows_must_be_given(tmp_path):
    with pytest.raises(UsageError, match="add layout, nchw or nhwc"):
        read_processor_file(write(tmp_path / "x.toml"), "")
    found = read_processor_file(write(tmp_path / "x.toml", layout='"nhwc"'), "")
    assert found.preprocessing.layout == "nhwc"


def test_a_file_that_is_not_there_or_not_toml_is_refused(tmp_path):
    (tmp_path / "x.toml").write_text("{")
    (tmp_path / "y.json").write_text("[" * 100_000)
    for name in ("gone.toml", "x.toml", "y.json", "."):
        with pytest.raises(UsageError, match="--preprocessing"):
            read_processor_file(tmp_path / name, "nchw")


def test_preprocessing_may_be_a_processor_config(tmp_path):
    found = read_processor_file(FOLDER / "dinov2" / "preprocessor_config.json", "nchw")
    assert geometry(found) == ((32, 32), "center", (36,), "bicubic")


def test_a_model_alone_does_not_say_its_preprocessing(tmp_path):
    copy = shutil.copytree(FOLDER / "dinov2", tmp_path / "copy")
    (copy / "preprocessor_config.json").unlink()
    for backbone in (model_of("dinov2"), copy):
        with pytest.raises(UsageError, match="--preprocessing") as raised:
            choose_network(RunOptions("data", backbone=backbone))
        assert EXAMPLE in str(raised.value)
    assert read_folder(copy).processor is None


# Geometry: as transformers/image_transforms.py computes it


def reference(image, edge, size, resample):
    """The shortest edge resized, the center cut out; get_resize_output_image_size and center_crop."""
    width, height = image.size
    short, long = (width, height) if width <= height else (height, width)
    longer = int(edge * long / short)
    resized = image.resize((edge, longer) if width <= height else (longer, edge), resample)
    top, left = (resized.height - size) // 2, (resized.width - size) // 2
    return np.asarray(resized)[top : top + size, left : left + size]


@pytest.mark.parametrize("size", [(97, 61), (61, 97), (50, 50), (101, 37), (36, 100), (33, 35), (36, 36)])
def test_the_center_of_a_resized_image_is_cut_out(size, tmp_path):
    image = Image.effect_noise(size, 80).convert("RGB")
    image.save(tmp_path / "x.png")
    policy = DecodePolicy((32, 32), "bicubic", "center", (255, 255, 255), 10**6, resize_to=(36,))
    found = decode((tmp_path / "x.png").read_bytes(), policy).pixels
    np.testing.assert_array_equal(found, reference(image, 36, 32, Image.Resampling.BICUBIC))
    stretched = DecodePolicy((32, 32), "bicubic", "center", (255, 255, 255), 10**6, resize_to=(40, 36))
    whole = np.asarray(image.resize((36, 40), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(decode((tmp_path / "x.png").read_bytes(), stretched).pixels, whole[4:36, 2:34])


def test_an_image_too_narrow_to_resize_is_a_failure(tmp_path):
    Image.new("RGB", (5000, 1)).save(tmp_path / "x.png")
    policy = DecodePolicy((32, 32), "bicubic", "center", (255, 255, 255), 10**6, resize_to=(36,))
    with pytest.raises(Exception, match="pixels") as raised:
        decode((tmp_path / "x.png").read_bytes(), policy)
    assert raised.value.code == "too_many_pixels"


def test_fast_decoding_keeps_twice_the_resized_edge(tmp_path):
    Image.effect_noise((640, 480), 80).convert("RGB").save(tmp_path / "x.jpg")
    data = (tmp_path / "x.jpg").read_bytes()
    slow = DecodePolicy((32, 32), "bicubic", "center", (255, 255, 255), 10**6, resize_to=(200,))
    fast = DecodePolicy((32, 32), "bicubic", "center", (255, 255, 255), 10**6, fast=True, resize_to=(200,))
    # At a half of its size it has 240 pixels on its shortest edge, less than 400: it is decoded whole.
    np.testing.assert_array_equal(decode(data, fast).pixels, decode(data, slow).pixels)


def test_a_crop_fraction_is_for_networks_of_the_table_too():
    options = RunOptions("data", backbone="mobilenet", weights="random", crop="center", crop_fraction=0.875)
    request = choose_network(options)
    assert (request.geometry.crop, request.geometry.resize_to) == ("center", (256,))
    plain = choose_network(RunOptions("data", backbone="mobilenet", weights="random"))
    assert (plain.geometry.crop, plain.geometry.resize, plain.geometry.resize_to) == ("stretch", "bilinear", ())
