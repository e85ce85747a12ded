"""Building a network and cutting it: layers, nested ones too, by the names of a fresh process."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras

from extract.backbones.networks.alexnet import alexnet
from extract.backbones.networks.efficientnet_lite import efficientnet_lite0
from extract.backbones.networks.inception_v1 import inception_v1
from extract.backbones.networks.inception_v4 import inception_v4
from extract.backbones.networks.pixels import pixels
from extract.backbones.networks.squeezenet import squeezenet
from extract.backbones.table import Backbone, nearest
from store.errors import UsageError

_OWN: dict[str, Callable[..., keras.Model]] = {
    function.__name__: function
    for function in (alexnet, efficientnet_lite0, inception_v1, inception_v4, pixels, squeezenet)
}


def build(
    backbone: Backbone,
    image_size: tuple[int, int],
    include_top: bool = False,
    weights: str | None = None,
    precision: str = "float32",
) -> keras.Model:
    """The bare network, pixels as its own preprocessing leaves them in.

    Keras counts layer names per thread (`conv2d_94` for the second InceptionV3 of a process), so the
    network is built in a thread of its own: names are always those of a fresh process. Data format and
    precision are set there as well, whatever the user's Keras is configured to.

    Args:
        backbone: which network.
        image_size: (height, width) in pixels.
        include_top: with the ImageNet classifier.
        weights: `imagenet` lets Keras download and load its own; None leaves them as initialised.
        precision: what layers compute in; the weights are float32 in any case.

    Raises:
        UsageError: the network cannot take images of that size.
    """

    def builder() -> keras.Model:
        keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
        if backbone.builder in _OWN:
            return _OWN[backbone.builder](include_top, (*image_size, 3))
        function = getattr(keras.applications, backbone.builder)
        return function(weights=weights, include_top=include_top, input_shape=(*image_size, 3))

    keras.config.set_image_data_format("channels_last")
    with ThreadPoolExecutor(1) as fresh:
        try:
            return fresh.submit(builder).result()
        except ValueError as error:
            if "nput size must be" in str(error) or "input_shape" in str(error) or "negative" in str(error):
                height, width = image_size
                raise UsageError(
                    f"{backbone.name} cannot take images of {height}x{width} pixels ({_first_line(error)}); "
                    f"its own size is {backbone.size[0]}x{backbone.size[1]}"
                ) from error
            raise


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def leaf_layers(network: keras.Model) -> Iterator[keras.Layer]:
    """All layers that are no models themselves, nested ones in place, in the network's order."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def cut_points(network: keras.Model, prefix: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every layer the network can be cut at, with the shape of one image's output; nested ones as `outer/inner`."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        shape = layer.output.shape[1:] if not isinstance(layer.output, (list, tuple)) else ()
        if len(shape) in (1, 3):
            yield prefix + layer.name, tuple(shape)
        if isinstance(layer, keras.Model):
            yield from cut_points(layer, f"{prefix}{layer.name}/")


def cut(network: keras.Model, layers: tuple[str, ...]) -> keras.Model:
    """The network from its input to the outputs of `layers`, in that order, as a list.

    Raises:
        UsageError: no such layer; the nearest names are suggested.
    """
    known = [name for name, _ in cut_points(network)]
    for layer in layers:
        if layer not in known:
            raise UsageError(
                f"{network.name} has no layer {layer!r} to cut at{nearest(layer, known)}; `extract layers` lists all"
            )
    return keras.Model(network.input, [_tensor_at(network, layer) for layer in layers])


def remainder(network: keras.Model, layer: str) -> keras.Model:
    """The rest of the network, from the output of `layer` to its own output; layers and weights are shared with it.

    Raises:
        UsageError: something flows past the layer, or nothing after it can be trained; the nearest that can be used
            are named.
    """
    usable = passages(network)
    if layer not in usable:
        order = [name for name, _ in cut_points(network)]
        place = order.index(layer)
        before = [name for name in usable if order.index(name) < place][-1:]
        after = [name for name in usable if order.index(name) > place][:1]
        raise UsageError(
            f"{network.name} cannot be continued from {layer}: all of it must flow through that layer, and layers that "
            f"can be trained must follow. The nearest that can be used: {' and '.join(before + after)}; extract again "
            "with one as --layer"
        )
    return keras.Model(_tensor_at(network, layer), network.output, name="remainder")


def passages(network: keras.Model) -> list[str]:
    """The spatial layers that everything flows through and that layers to be trained follow, in the network's order.

    Those of the network itself, not of models nested in it. Batch normalization alone is nothing to be trained.
    """
    # By falling depth every node comes after those that feed it. Keras has no public way to ask for nodes.
    nodes = [node for _, level in sorted(network._nodes_by_depth.items(), reverse=True) for node in level]
    number_of = {id(node): number for number, node in enumerate(nodes)}
    last_use = list(range(len(nodes)))
    for number, node in enumerate(nodes):
        for parent in node.parent_nodes:
            last_use[number_of[id(parent)]] = number
    last_learning = max(number for number, node in enumerate(nodes) if _learns(node.operation))
    spatial = {name for name, shape in cut_points(network) if len(shape) == 3}
    found, open_until = [], 0
    for number, node in enumerate(nodes[:last_learning]):
        if open_until <= number and node.operation.name in spatial:
            found.append(node.operation.name)
        open_until = max(open_until, last_use[number])
    return found


def _learns(operation: Any) -> bool:
    leaves = leaf_layers(operation) if isinstance(operation, keras.Model) else [operation]
    return any(
        isinstance(leaf, keras.Layer)
        and leaf.trainable_weights
        and not isinstance(leaf, keras.layers.BatchNormalization)
        for leaf in leaves
    )


def _tensor_at(network: keras.Model, layer: str) -> Any:
    """The symbolic output of a layer as seen from the network's own input."""
    outer_name, _, inner = layer.partition("/")
    outer = network.get_layer(outer_name)
    if not isinstance(outer, keras.Model):
        return outer.output
    # A nested model's own tensors belong to another graph. What it is fed and gives in this one, only the
    # node of its call knows, and Keras has no public way to ask for that.
    nodes = itertools.chain.from_iterable(network._nodes_by_depth.values())
    node = next(node for node in nodes if node.operation is outer)
    return _tensor_within(outer, node.input_tensors[0], inner) if inner else node.output_tensors[0]


def _tensor_within(nested: keras.Model, x: Any, layer: str) -> Any:
    """The output of a layer of a nested model that is fed `x`: the part up to there is called anew."""
    if not isinstance(nested, keras.Sequential):
        return keras.Model(nested.input, _tensor_at(nested, layer))(x)
    name, _, inner = layer.partition("/")
    for step in nested.layers:
        if step.name == name and inner:
            return _tensor_within(step, x, inner)
        x = step(x)
        if step.name == name:
            break
    return x
