"""The smallest network of each family: the others of a family are the same layers, more often or wider."""

import inspect

import keras

from extract.backbones.table import BACKBONES, Backbone


def family(backbone: Backbone) -> str:
    """Where Keras builds the network; networks of our own are families of their own."""
    builder = getattr(keras.applications, backbone.builder, None)
    return inspect.getmodule(builder).__name__ if builder else backbone.name


def smallest_of_each_family() -> list[str]:
    """Their names, sorted."""
    smallest = {}
    for backbone in sorted(BACKBONES.values(), key=lambda backbone: -backbone.parameters):
        smallest[family(backbone)] = backbone.name
    return sorted(smallest.values())
