"""From what --backbone and the options beside it say to a network and the geometry of its images. Nothing is loaded."""

from dataclasses import dataclass
from pathlib import Path

from extract.backbones.file_backbone import KERAS_HUB, AnyBackbone, FileBackbone
from extract.backbones.keras_file import default_layer
from extract.backbones.onnx_input import require_size
from extract.backbones.outputs import needed_prefix, resolve_layers
from extract.backbones.processor import Processor, missing_preprocessing, read_processor_file
from extract.backbones.source import HubSource, OnnxSource, find_processor, find_source
from extract.backbones.spec import KERAS, ONNX, TABLE, BackboneSpec, parse_backbone
from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights, require_weights
from extract.request import DEFAULT_CROP, DEFAULT_RESIZE, RunOptions, parse_image_size
from store.errors import UsageError
from store.files.names import printable
from store.preprocessing import require_crop
from store.progress import SILENT, Reporter
from store.schema import InvalidField


@dataclass(frozen=True)
class Geometry:
    """How an image is fitted to the network's input; the fields are those of `store.recipe.Recipe`."""

    image_size: tuple[int, int]
    resize: str
    crop: str
    resize_to: tuple[int, ...] = ()


@dataclass(frozen=True)
class ChosenNetwork:
    """A network with its weights, where it is cut, and the geometry of its images."""

    backbone: AnyBackbone
    weights: Weights
    layers: tuple[str, ...]
    geometry: Geometry


def choose_network(options: RunOptions, reporter: Reporter = SILENT) -> ChosenNetwork:
    """The network that the options name.

    Raises:
        UsageError: there is no such network; or a model does not say its preprocessing, or which output is meant.
        UnsafeFile: its files could run code, or read other files.
        EnvironmentFailure: a file cannot be read now.
    """
    spec = parse_backbone(options.backbone)
    if spec.kind == TABLE:
        return _from_table(spec, options)
    if options.weights != RunOptions.weights:
        raise UsageError(f"--weights {options.weights}: a model file has its weights; leave --weights out")
    if spec.kind == KERAS:
        return _from_keras(spec, options)
    source = find_source(spec, reporter)
    return _from_keras_hub(source, options) if isinstance(source, HubSource) else _from_onnx(source, options)


def _from_table(spec: BackboneSpec, options: RunOptions) -> ChosenNetwork:
    backbone, weights = get_backbone(spec.place), Weights.parse(options.weights)
    require_weights(backbone, weights)
    if options.preprocessing is not None:
        raise UsageError(f"--preprocessing: {backbone.name} has its own; it is for models from files")
    size = parse_image_size(options.image_size) or backbone.size
    geometry = Geometry(size, options.resize or DEFAULT_RESIZE, options.crop or DEFAULT_CROP, _fraction(options, size))
    return ChosenNetwork(backbone, weights, options.layer or (backbone.layer,), _checked(geometry))


def _from_onnx(source: OnnxSource, options: RunOptions) -> ChosenNetwork:
    processor = find_processor(source, options.preprocessing)
    geometry = _geometry(processor, options)
    require_size(source.pixels, processor.preprocessing.layout, geometry.image_size, source.name)
    layers = resolve_layers(options.layer, source.file.outputs, source.outputs, source.name)
    known = processor.prefix_tokens
    if known is None and source.outputs is not None:
        known = source.outputs.prefix_tokens
    prefix = needed_prefix(layers, source.file.outputs, known, source.name)
    backbone = FileBackbone(ONNX, processor.preprocessing, prefix)
    return ChosenNetwork(backbone, Weights("file", path=str(source.file.path)), layers, geometry)


def _from_keras_hub(source: HubSource, options: RunOptions) -> ChosenNetwork:
    network, processor = source.network, find_processor(source, options.preprocessing)
    geometry = _geometry(processor, options)
    network.require_size(geometry.image_size)
    layers = resolve_layers(options.layer, network.ports, network.outputs, network.name)
    prefix = needed_prefix(layers, network.ports, network.outputs.prefix_tokens, network.name)
    backbone = FileBackbone(KERAS_HUB, processor.preprocessing, prefix)
    return ChosenNetwork(backbone, Weights("file", path=str(network.weights)), layers, geometry)


def _from_keras(spec: BackboneSpec, options: RunOptions) -> ChosenNetwork:
    if options.preprocessing is None:
        raise missing_preprocessing(printable(spec.place))
    processor = read_processor_file(Path(options.preprocessing), "nhwc")
    geometry = _geometry(processor, options)
    layers = options.layer or (default_layer(Path(spec.place)),)
    backbone = FileBackbone(KERAS, processor.preprocessing)
    return ChosenNetwork(backbone, Weights("file", path=spec.place), layers, geometry)


def _geometry(processor: Processor, options: RunOptions) -> Geometry:
    """The processor's geometry, or the options' where they say another one."""
    size = parse_image_size(options.image_size) or processor.image_size
    resize = options.resize or processor.resize
    if options.crop is not None:
        return _checked(Geometry(size, resize, options.crop, _fraction(options, size)))
    if size != processor.image_size and processor.resize_to:
        raise UsageError(
            f"--image-size {options.image_size}: the model's preprocessing cuts {'x'.join(map(str, processor.image_size))} "
            "out of a larger image; say what is done with another size, as in --crop center --crop-fraction 0.875, or "
            "--crop stretch"
        )
    return _checked(Geometry(size, resize, processor.crop, processor.resize_to))


def _fraction(options: RunOptions, size: tuple[int, int]) -> tuple[int, ...]:
    """The shortest edge that --crop-fraction stands for (rounded down, as crop_pct is), or nothing without it."""
    return () if options.crop_fraction is None else (int(max(size) / options.crop_fraction),)


def _checked(geometry: Geometry) -> Geometry:
    try:
        require_crop(geometry.image_size, geometry.crop, geometry.resize_to)
    except InvalidField as error:
        raise UsageError(str(error)) from error
    return geometry
