"""Building a network, and cutting it at a layer. Layers are named as in a fresh process; nested ones are `outer/inner`."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import keras

from extract.backbones.networks.alexnet import alexnet
from extract.backbones.networks.efficientnet_lite import efficientnet_lite0, efficientnet_lite2
from extract.backbones.networks.inception_v1 import inception_v1
from extract.backbones.networks.inception_v4 import inception_v4
from extract.backbones.networks.pixels import pixels
from extract.backbones.networks.squeezenet import squeezenet
from extract.backbones.table import BACKBONES, Backbone, nearest
from extract.process_state import SharedBlock
from store.errors import UsageError
from store.suggestions import suggest

_NETWORKS: dict[str, Callable[[bool, tuple[int, int, int]], keras.Model]] = {
    function.__name__: function
    for function in (alexnet, efficientnet_lite0, efficientnet_lite2, inception_v1, inception_v4, pixels, squeezenet)
}

_SIZE_ERRORS = ("nput size must be", "input_shape", "negative")
"""Parts of what Keras says about images that are too small for a network."""


def build(
    backbone: Backbone,
    image_size: tuple[int, int],
    include_top: bool = False,
    weights: str | None = None,
    precision: str = "float32",
) -> keras.Model:
    """The bare network, which takes pixels after their preprocessing.

    Args:
        backbone: which network.
        image_size: (height, width) in pixels.
        include_top: with the ImageNet classifier.
        weights: `imagenet` for those that Keras downloads; None for those of Keras' initializers.
        precision: what layers compute in; the weights are float32 in any case.

    Raises:
        UsageError: the network cannot take images of that size.
    """

    def builder() -> keras.Model:
        if backbone.builder in _NETWORKS:
            return _NETWORKS[backbone.builder](include_top, (*image_size, 3))
        function = getattr(keras.applications, backbone.builder)
        return function(weights=weights, include_top=include_top, input_shape=(*image_size, 3))

    try:
        return as_in_a_new_process(builder, precision)
    except ValueError as error:
        if any(part in str(error) for part in _SIZE_ERRORS):
            raise _wrong_size(backbone, image_size, error) from error
        raise


def as_in_a_new_process(builder: Callable[[], keras.Model], precision: str) -> keras.Model:
    """What `builder` builds, with layers that compute in `precision`.

    Keras counts layer names per thread (`conv2d_94` for the second InceptionV3 of a process) and has a precision policy
    per thread. So the network is built in a new thread: names are those of a fresh process, and no setting is left.
    """

    def build_there() -> keras.Model:
        keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
        return builder()

    with keras_defaults(), ThreadPoolExecutor(1) as new_thread:
        return new_thread.submit(build_there).result()


def _wrong_size(backbone: Backbone, image_size: tuple[int, int], error: ValueError) -> UsageError:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return UsageError(
        f"{backbone.name} cannot take images of {image_size[0]}x{image_size[1]} pixels ({reason}); "
        f"its own size is {backbone.size[0]}x{backbone.size[1]}"
    )


@contextmanager
def _set_defaults() -> Iterator[None]:
    before = keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon()
    _configure("channels_last", "float32", 1e-7)
    try:
        yield
    finally:
        _configure(*before)


def _configure(image_data_format: str, floatx: str, epsilon: float) -> None:
    keras.config.set_image_data_format(image_data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)


_DEFAULTS = SharedBlock(_set_defaults)


def keras_defaults() -> SharedBlock:
    """Have Keras make layers with channels last and in float32 inside the block, however the process has configured it.

    Blocks may overlap, in one thread or in several.
    """
    return _DEFAULTS


def leaf_layers(network: keras.Model) -> Iterator[keras.Layer]:
    """All layers except models; the layers of a nested model take its place in the network's order."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def cut_points(network: keras.Model, prefix: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every layer the network can be cut at, in its order, with the shape of one image's output."""
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
            layers_of = suggest("extract", "layers", network.name if network.name in BACKBONES else "BACKBONE")
            raise UsageError(
                f"{network.name} has no layer {layer!r} to cut at{nearest(layer, known)}; {layers_of} lists all"
            )
    return keras.Model(network.input, [_tensor_at(network, layer) for layer in layers])


def remainder(network: keras.Model, layer: str) -> keras.Model:
    """The rest of the network, from the output of `layer` to its own output; layers and weights are shared with it.

    Raises:
        UsageError: something flows past the layer, or nothing after it can be trained; the nearest layers that can be
            used are named.
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
    """The spatial layers that the whole network flows through and that are followed by layers that can be trained.

    They are in the network's order, without the layers of nested models. Batch normalization does not count as a layer
    that can be trained.
    """
    # By falling depth, every node comes after its inputs. Keras has no public method for nodes.
    nodes = [node for _, level in sorted(network._nodes_by_depth.items(), reverse=True) for node in level]
    number_of = {id(node): number for number, node in enumerate(nodes)}
    last_use = list(range(len(nodes)))
    for number, node in enumerate(nodes):
        for parent in node.parent_nodes:
            last_use[number_of[id(parent)]] = number
    last_trainable = max(number for number, node in enumerate(nodes) if _is_trainable(node.operation))
    spatial = {name for name, shape in cut_points(network) if len(shape) == 3}
    found, open_until = [], 0
    for number, node in enumerate(nodes[:last_trainable]):
        if open_until <= number and node.operation.name in spatial:
            found.append(node.operation.name)
        open_until = max(open_until, last_use[number])
    return found


def _is_trainable(operation: keras.Operation) -> bool:
    leaves = leaf_layers(operation) if isinstance(operation, keras.Model) else [operation]
    return any(
        isinstance(leaf, keras.Layer)
        and leaf.trainable_weights
        and not isinstance(leaf, keras.layers.BatchNormalization)
        for leaf in leaves
    )


def _tensor_at(network: keras.Model, layer: str) -> keras.KerasTensor:
    """The symbolic output of a layer as seen from the network's own input."""
    outer_name, _, inner = layer.partition("/")
    outer = network.get_layer(outer_name)
    if not isinstance(outer, keras.Model):
        return outer.output
    # A nested model's own tensors belong to another graph. Its input and output in this graph are known to the node of
    # its call alone, for which Keras has no public method.
    nodes = itertools.chain.from_iterable(network._nodes_by_depth.values())
    node = next(node for node in nodes if node.operation is outer)
    return _tensor_within(outer, node.input_tensors[0], inner) if inner else node.output_tensors[0]


def _tensor_within(nested: keras.Model, x: keras.KerasTensor, layer: str) -> keras.KerasTensor:
    """The output of a layer of a nested model for the input `x`: the part up to there is called again."""
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
