"""The table of backbones: what is known about each network without building it.

A test builds every network and compares it with its entry. Names are those of Keras in snake case. Nothing here imports
Keras, so that `extract backbones` and a run with nothing to compute stay quick.
"""

import difflib
import re
from dataclasses import dataclass

from store.errors import UsageError
from store.suggestions import suggest

DEFAULT_BACKBONE = "efficientnet_lite0"

PREPROCESSING = {
    "tf": "scaled to -1..1",
    "caffe": "BGR, ImageNet mean subtracted",
    "torch": "scaled to 0..1, ImageNet mean and deviation",
    "inside": "0..255, scaled by its own first layers",
}
"""The input that networks were trained on; the keys are the modes of keras.applications.imagenet_utils."""


@dataclass(frozen=True)
class Backbone:
    """One network, without its classification top.

    Attributes:
        name: in our commands and recipes.
        builder: the function's name in keras.applications, or in `extract.backbones.networks`.
        size: the default (height, width) in pixels.
        preprocessing: a key of PREPROCESSING.
        parameters: how many weights it has.
        layer: the output layer.
        shape: of one image's output at the default size.
        weights_file: the name of the ImageNet weights in Keras' cache.
        random_gains: factors of random kernels, of all and of the last one in addition. With them, random outputs are of
            order one (measured on noise); residual sums and swish would leave float16's range otherwise.
        weights_from: where ImageNet weights come from: `keras` downloads them, a `package` that is installed has them,
            the user gives a `file`. `nowhere`: the network has neither weights nor classes.
    """

    name: str
    builder: str
    size: tuple[int, int]
    preprocessing: str
    parameters: int
    layer: str
    shape: tuple[int, int, int]
    weights_file: str
    random_gains: tuple[float, float] = (1.0, 1.0)
    weights_from: str = "keras"

    @property
    def classifier_file(self) -> str:
        """The name in Keras' cache of the ImageNet weights with the classifier."""
        return re.sub("_no_?top(_v2)?", "", self.weights_file)


# fmt: off
_TABLE = (
    Backbone("alexnet", "alexnet", (227, 227), "caffe", 2_334_080, "pool5", (6, 6, 256),
             "", (0.4, 1.0), "file"),
    Backbone("convnext_base", "ConvNeXtBase", (224, 224), "inside", 87_566_464, "layer_normalization", (7, 7, 1024),
             "convnext_base_notop.h5"),
    Backbone("convnext_large", "ConvNeXtLarge", (224, 224), "inside", 196_230_336, "layer_normalization", (7, 7, 1536),
             "convnext_large_notop.h5"),
    Backbone("convnext_small", "ConvNeXtSmall", (224, 224), "inside", 49_454_688, "layer_normalization", (7, 7, 768),
             "convnext_small_notop.h5"),
    Backbone("convnext_tiny", "ConvNeXtTiny", (224, 224), "inside", 27_820_128, "layer_normalization", (7, 7, 768),
             "convnext_tiny_notop.h5"),
    Backbone("convnext_xlarge", "ConvNeXtXLarge", (224, 224), "inside", 348_147_968, "layer_normalization", (7, 7, 2048),
             "convnext_xlarge_notop.h5"),
    Backbone("densenet121", "DenseNet121", (224, 224), "torch", 7_037_504, "relu", (7, 7, 1024),
             "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    Backbone("densenet169", "DenseNet169", (224, 224), "torch", 12_642_880, "relu", (7, 7, 1664),
             "densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    Backbone("densenet201", "DenseNet201", (224, 224), "torch", 18_321_984, "relu", (7, 7, 1920),
             "densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    Backbone("efficientnet_b0", "EfficientNetB0", (224, 224), "inside", 4_049_571, "top_activation", (7, 7, 1280),
             "efficientnetb0_notop.h5", (0.9, 52000.0)),
    Backbone("efficientnet_b1", "EfficientNetB1", (240, 240), "inside", 6_575_239, "top_activation", (8, 8, 1280),
             "efficientnetb1_notop.h5", (0.9, 46000.0)),
    Backbone("efficientnet_b2", "EfficientNetB2", (260, 260), "inside", 7_768_569, "top_activation", (9, 9, 1408),
             "efficientnetb2_notop.h5", (0.9, 34000.0)),
    Backbone("efficientnet_b3", "EfficientNetB3", (300, 300), "inside", 10_783_535, "top_activation", (10, 10, 1536),
             "efficientnetb3_notop.h5", (0.9, 16000.0)),
    Backbone("efficientnet_b4", "EfficientNetB4", (380, 380), "inside", 17_673_823, "top_activation", (12, 12, 1792),
             "efficientnetb4_notop.h5", (0.9, 6600.0)),
    Backbone("efficientnet_b5", "EfficientNetB5", (456, 456), "inside", 28_513_527, "top_activation", (15, 15, 2048),
             "efficientnetb5_notop.h5", (0.9, 7500.0)),
    Backbone("efficientnet_b6", "EfficientNetB6", (528, 528), "inside", 40_960_143, "top_activation", (17, 17, 2304),
             "efficientnetb6_notop.h5", (0.9, 5400.0)),
    Backbone("efficientnet_b7", "EfficientNetB7", (600, 600), "inside", 64_097_687, "top_activation", (19, 19, 2560),
             "efficientnetb7_notop.h5", (0.9, 8000.0)),
    Backbone("efficientnet_lite0", "efficientnet_lite0", (224, 224), "inside", 3_413_024, "top_activation", (7, 7, 1280),
             "", (1.0, 1.0), "package"),
    Backbone("efficientnet_lite2", "efficientnet_lite2", (260, 260), "inside", 4_869_168, "top_activation", (9, 9, 1280),
             "", (1.0, 1.0), "package"),
    Backbone("efficientnet_v2_b0", "EfficientNetV2B0", (224, 224), "inside", 5_919_312, "top_activation", (7, 7, 1280),
             "efficientnetv2-b0_notop.h5", (0.8, 300.0)),
    Backbone("efficientnet_v2_b1", "EfficientNetV2B1", (240, 240), "inside", 6_931_124, "top_activation", (8, 8, 1280),
             "efficientnetv2-b1_notop.h5", (0.8, 210.0)),
    Backbone("efficientnet_v2_b2", "EfficientNetV2B2", (260, 260), "inside", 8_769_374, "top_activation", (9, 9, 1408),
             "efficientnetv2-b2_notop.h5", (0.75, 1400.0)),
    Backbone("efficientnet_v2_b3", "EfficientNetV2B3", (300, 300), "inside", 12_930_622, "top_activation", (10, 10, 1536),
             "efficientnetv2-b3_notop.h5", (0.75, 550.0)),
    Backbone("efficientnet_v2_l", "EfficientNetV2L", (480, 480), "inside", 117_746_848, "top_activation", (15, 15, 1280),
             "efficientnetv2-l_notop.h5", (0.7, 7600.0)),
    Backbone("efficientnet_v2_m", "EfficientNetV2M", (480, 480), "inside", 53_150_388, "top_activation", (15, 15, 1280),
             "efficientnetv2-m_notop.h5", (0.75, 1800.0)),
    Backbone("efficientnet_v2_s", "EfficientNetV2S", (384, 384), "inside", 20_331_360, "top_activation", (12, 12, 1280),
             "efficientnetv2-s_notop.h5", (0.8, 43.0)),
    Backbone("inception_resnet_v2", "InceptionResNetV2", (299, 299), "tf", 54_336_736, "conv_7b_ac", (8, 8, 1536),
             "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.902, 1.0)),
    Backbone("inception_v1", "inception_v1", (224, 224), "caffe", 5_973_552, "inception_5b", (7, 7, 1024),
             "", (0.75, 1.0), "file"),
    Backbone("inception_v3", "InceptionV3", (299, 299), "tf", 21_802_784, "mixed10", (8, 8, 2048),
             "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    Backbone("inception_v4", "inception_v4", (299, 299), "tf", 41_205_984, "inception_c3", (8, 8, 1536),
             "", (1.0, 1.0), "file"),
    Backbone("mobilenet", "MobileNet", (224, 224), "tf", 3_228_864, "conv_pw_13_relu", (7, 7, 1024),
             "mobilenet_1_0_224_tf_no_top.h5", (1.02, 1.0)),
    Backbone("mobilenet_v2", "MobileNetV2", (224, 224), "tf", 2_257_984, "out_relu", (7, 7, 1280),
             "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
    Backbone("mobilenet_v3_large", "MobileNetV3Large", (224, 224), "inside", 2_996_352, "activation_19", (7, 7, 960),
             "weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5", (0.98, 1.0)),
    Backbone("mobilenet_v3_small", "MobileNetV3Small", (224, 224), "inside", 939_120, "activation_17", (7, 7, 576),
             "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5", (1.05, 1.0)),
    Backbone("nasnet_large", "NASNetLarge", (331, 331), "tf", 84_916_818, "activation_259", (11, 11, 4032),
             "nasnet_large_no_top.h5", (0.796, 1.0)),
    Backbone("nasnet_mobile", "NASNetMobile", (224, 224), "tf", 4_269_716, "activation_187", (7, 7, 1056),
             "nasnet_mobile_no_top.h5", (0.812, 1.0)),
    Backbone("pixels", "pixels", (100, 100), "inside", 0, "rescaling", (100, 100, 3),
             "", (1.0, 1.0), "nowhere"),
    Backbone("resnet101", "ResNet101", (224, 224), "caffe", 42_658_176, "conv5_block3_out", (7, 7, 2048),
             "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.392, 1.0)),
    Backbone("resnet101_v2", "ResNet101V2", (224, 224), "tf", 42_626_560, "post_relu", (7, 7, 2048),
             "resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.704, 1.0)),
    Backbone("resnet152", "ResNet152", (224, 224), "caffe", 58_370_944, "conv5_block3_out", (7, 7, 2048),
             "resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.381, 1.0)),
    Backbone("resnet152_v2", "ResNet152V2", (224, 224), "tf", 58_331_648, "post_relu", (7, 7, 2048),
             "resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.662, 1.0)),
    Backbone("resnet50", "ResNet50", (224, 224), "caffe", 23_587_712, "conv5_block3_out", (7, 7, 2048),
             "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.371, 1.0)),
    Backbone("resnet50_v2", "ResNet50V2", (224, 224), "tf", 23_564_800, "post_relu", (7, 7, 2048),
             "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.797, 1.0)),
    Backbone("squeezenet", "squeezenet", (224, 224), "caffe", 735_424, "fire9_concat", (13, 13, 512),
             "", (0.765, 1.0), "file"),
    Backbone("vgg16", "VGG16", (224, 224), "caffe", 14_714_688, "block5_pool", (7, 7, 512),
             "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.663, 1.0)),
    Backbone("vgg19", "VGG19", (224, 224), "caffe", 20_024_384, "block5_pool", (7, 7, 512),
             "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.721, 1.0)),
    Backbone("xception", "Xception", (299, 299), "tf", 20_861_480, "block14_sepconv2_act", (10, 10, 2048),
             "xception_weights_tf_dim_ordering_tf_kernels_notop.h5", (0.756, 1.0)),
)
# fmt: on

BACKBONES = {backbone.name: backbone for backbone in _TABLE}


def get_backbone(name: str) -> Backbone:
    """The backbone of that name.

    Raises:
        UsageError: there is none; the nearest names are suggested.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    raise UsageError(
        f"unknown backbone {name!r}{nearest(name, list(BACKBONES))}; {suggest('extract', 'backbones')} lists all"
    )


def find_backbones(word: str) -> list[Backbone]:
    """The backbones whose name contains a word, whatever its case, underscores and hyphens."""
    plain = re.sub("[_-]", "", word.lower())
    return [backbone for backbone in BACKBONES.values() if plain in backbone.name.replace("_", "")]


def nearest(name: str, names: list[str]) -> str:
    """`: did you mean …?` with the names closest to `name`; empty if there is none."""
    plain = {candidate.replace("_", ""): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower().replace("_", "").replace("-", ""), plain, n=3, cutoff=0.6)
    return f": did you mean {', '.join(plain[match] for match in close)}?" if close else ""
