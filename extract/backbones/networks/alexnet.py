"""AlexNet, which Keras lacks.

Source: Krizhevsky, Sutskever and Hinton 2012 (ImageNet classification with deep convolutional neural networks),
section 3.5. What the paper computes on two GPUs is two convolutions of half of the channels each, because TensorFlow does
not have grouped convolutions on every processor. Dropout is for training only and left out. The constants of the response
normalization are those of Caffe, whose weights were published. 60,965,224 parameters with top.
"""

import keras
from keras import layers

from extract.backbones.networks.caffe import local_response_normalization


def alexnet(include_top: bool, input_shape: tuple[int, int, int]) -> keras.Model:
    """The network with BGR pixels less their mean in, and class probabilities or pool5's output out.

    fc6 takes pool5's values by height, width, channels.
    """
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(96, 11, 4, activation="relu", name="conv1")(inputs)
    x = local_response_normalization(x, "norm1")
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = _two_groups(x, 256, 5, "conv2")
    x = local_response_normalization(x, "norm2")
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = layers.Conv2D(384, 3, padding="same", activation="relu", name="conv3")(x)
    x = _two_groups(x, 384, 3, "conv4")
    x = _two_groups(x, 256, 3, "conv5")
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(4096, activation="relu", name="fc6")(x)
        x = layers.Dense(4096, activation="relu", name="fc7")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, x, name="alexnet")


def _two_groups(x: keras.KerasTensor, filters: int, kernel: int, name: str) -> keras.KerasTensor:
    half = x.shape[-1] // 2
    groups = [
        layers.Conv2D(filters // 2, kernel, padding="same", activation="relu", name=f"{name}_group{number}")(part)
        for number, part in enumerate((x[..., :half], x[..., half:]), start=1)
    ]
    return layers.Concatenate(name=name)(groups)
