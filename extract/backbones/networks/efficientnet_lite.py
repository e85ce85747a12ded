"""EfficientNet-Lite0 and -Lite2, which Keras lacks.

Source: the EfficientNet paper (Tan and Le, 2019, arXiv:1905.11946) with the changes of its Lite family
(TensorFlow's `tpu/models/official/efficientnet/lite`): no squeeze-and-excitation, ReLU6 for swish, stem and
head not scaled. Layer names follow Keras' EfficientNet.
"""

import math

import keras
from keras import layers

# kernel, repeats, filters out, expansion, stride: table 1 of the paper
_BLOCKS = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
_EPSILON = 1e-3


def efficientnet_lite0(include_top: bool, input_shape: tuple[int, int, int]) -> keras.Model:
    """The network with pixels 0..255 in, and class probabilities or the last feature map out."""
    return _efficientnet_lite("efficientnet_lite0", 1.0, 1.0, include_top, input_shape)


def efficientnet_lite2(include_top: bool, input_shape: tuple[int, int, int]) -> keras.Model:
    """As `efficientnet_lite0`, wider and deeper, for images of 260 x 260."""
    return _efficientnet_lite("efficientnet_lite2", 1.1, 1.2, include_top, input_shape)


def _efficientnet_lite(
    name: str, width: float, depth: float, include_top: bool, input_shape: tuple[int, int, int]
) -> keras.Model:
    inputs = keras.Input(input_shape)
    # Rescaling, not Normalization: its constants survive an export to ONNX.
    x = layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(inputs)
    x = _convolution(x, 32, 3, "stem", strides=2)
    for stage, (kernel, repeats, filters, expansion, stride) in enumerate(_BLOCKS, start=1):
        inner = 1 < stage < len(_BLOCKS)  # the Lite family repeats its first and last blocks as they are
        for repeat in range(math.ceil(depth * repeats) if inner else repeats):
            block = f"block{stage}{'abcde'[repeat]}_"
            x = _block(x, block, kernel, _scaled(filters, width), expansion, stride if repeat == 0 else 1)
    x = _convolution(x, 1280, 1, "top")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, x, name=name)


def _scaled(filters: int, width: float) -> int:
    """The nearest multiple of 8, but no less than nine tenths (`round_filters` of the source)."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _convolution(x: keras.KerasTensor, filters: int, kernel: int, name: str, strides: int = 1) -> keras.KerasTensor:
    if strides == 2:
        x = layers.ZeroPadding2D(_stride_two_padding(x, kernel), name=f"{name}_conv_pad")(x)
    padding = "valid" if strides == 2 else "same"
    x = layers.Conv2D(filters, kernel, strides, padding, use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_activation")(x)


def _block(
    inputs: keras.KerasTensor, name: str, kernel: int, filters: int, expansion: int, stride: int
) -> keras.KerasTensor:
    """An inverted residual block: expand, depthwise, project, and add where the shape allows it."""
    filters_in = inputs.shape[-1]
    x = inputs
    if expansion != 1:
        x = layers.Conv2D(filters_in * expansion, 1, padding="same", use_bias=False, name=f"{name}expand_conv")(x)
        x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}expand_bn")(x)
        x = layers.ReLU(6.0, name=f"{name}expand_activation")(x)
    if stride == 2:
        x = layers.ZeroPadding2D(_stride_two_padding(x, kernel), name=f"{name}dwconv_pad")(x)
    padding = "valid" if stride == 2 else "same"
    x = layers.DepthwiseConv2D(kernel, stride, padding, use_bias=False, name=f"{name}dwconv")(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}bn")(x)
    x = layers.ReLU(6.0, name=f"{name}activation")(x)
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}project_conv")(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}project_bn")(x)
    if stride == 1 and filters == filters_in:
        x = layers.Add(name=f"{name}add")([x, inputs])
    return x


def _stride_two_padding(x: keras.KerasTensor, kernel: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """TensorFlow's "same" padding at stride 2, spelled out so that every backend pads alike."""
    return tuple((kernel // 2 - (1 - size % 2), kernel // 2) for size in x.shape[1:3])  # type: ignore[return-value]
