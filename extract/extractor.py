"""A recipe applied to new images: image files -> features, exactly as a store of that recipe would hold them."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from extract.backbones.file_backbone import FileBackbone, recipe_backbone, shown_name
from extract.backbones.folder import find_model
from extract.backbones.weights import Weights, remembered_digest
from extract.images.decode import DecodePolicy, decode_policy, without_pillow_limits
from extract.images.loader import ImageLoader
from extract.monitor import Monitor
from extract.pipeline import run_pipeline
from extract.request import MAX_PIXELS
from extract.runtimes.base import Computed, Pending, Runtime
from extract.runtimes.device import usable_cores
from extract.runtimes.load import NetworkSpec, load_runtime, require_int8
from extract.shard_builder import ImageGroup, unlabelled
from extract.sources.named import NamedFiles
from store.errors import DamagedStore, PrecisionMissing, RecipeMismatch, UsageError
from store.files.base import ReadableFiles
from store.files.names import printable
from store.files.opening import open_files
from store.image_records import Failure
from store.progress import SILENT, Reporter
from store.quantization import Quantization, local_network, network_file
from store.recipe import Output, Recipe, stored_dtype
from store.tensors import Tensor
from store.writer import ShardContent

_IMAGES_AT_ONCE = 256
_LEAST_TOGETHER = 32
"""Images that several networks compute before they wait for one another."""


class FeatureExtractor:
    """A recipe's network, loaded, for some of its outputs.

    Args:
        recipe: what the features depend on.
        outputs: which of its columns to compute.
        weights: where the weights are: imagenet, random:SEED or a file; of a model file, where it or its folder is; with the
            precision int8, the store, or the folder of a head on its features.
        reporter: shows that the network is being loaded; with its `debug`, the messages of libraries.

    Raises:
        UsageError: there are no such weights.
        PrecisionMissing: this machine does not compute in the recipe's precision.
        RecipeMismatch: the weights are not those of the recipe.
    """

    def __init__(self, recipe: Recipe, outputs: Sequence[Output], weights: str, reporter: Reporter = SILENT) -> None:
        self.recipe = recipe
        self.outputs = tuple(outputs)
        with reporter.step(f"loading {shown_name(recipe.backbone)}", None):
            if recipe.quantization is None:
                self.runtime = _runtime_of_weights(recipe, self.outputs, weights, reporter.debug)
            else:
                self.runtime = _runtime_in_8_bits(recipe, recipe.quantization, self.outputs, weights)
        for output, shape in zip(self.outputs, self.runtime.shapes, strict=True):
            _require_shape(recipe, output, tuple(shape))

    def extract(
        self, paths: Sequence[str], reporter: Reporter = SILENT, pixels: Mapping[str, Image] | None = None
    ) -> Iterator[ShardContent]:
        """Features of image files in the order of the paths, some hundred images at a time.

        Args:
            paths: row names of files and URLs, relative to the working directory.
            reporter: shows progress.
            pixels: by their names among the paths, images that are in memory.
        """
        files, policy = NamedFiles(paths, pixels), decode_policy(self.recipe, MAX_PIXELS)
        yield from extract_files(paths, files, policy, self.runtime, self.outputs, reporter)

    def extract_pixels(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """Features (rows, *shape) of each output in its stored type, from pixels (rows, height, width, 3) of the
        recipe's size.
        """
        return list(_Calls(self.runtime, list(pixels)).result().tensors)


def _runtime_of_weights(recipe: Recipe, outputs: Sequence[Output], weights: str, debug: bool) -> Runtime:
    as_auto = all(stored_dtype("auto", output.spatial) == output.dtype for output in outputs)
    network = NetworkSpec(
        recipe_backbone(recipe),
        recipe_weights(recipe, weights),
        recipe.image_size,
        tuple(output.layer for output in outputs),
        recipe.pooling,
        # As the run asked for it in most cases, so that the model which it converted serves here too.
        "auto" if as_auto else outputs[0].dtype,
        recipe.precision,
    )
    try:
        _require_weights(recipe, weights, remembered_digest(network.backbone, network.weights))
        runtime, digest = load_runtime(network, Reporter(debug=debug))
    except (RecipeMismatch, PrecisionMissing):
        raise
    except UsageError as error:
        raise _weights_needed(recipe, error) from error
    _require_weights(recipe, weights, digest)
    return runtime


def _runtime_in_8_bits(recipe: Recipe, quantization: Quantization, outputs: Sequence[Output], place: str) -> Runtime:
    """The network of a recipe in 8 bits, from the store or a head's folder.

    Raises:
        UsageError: it is not there.
        DamagedStore: it is there, and is not the recipe's.
        PrecisionMissing: this machine does not compute in int8.
    """
    require_int8()
    from extract.runtimes.quantized import quantized_runtime

    files = open_files(place)
    try:
        file = local_network(files, quantization.network)
    except DamagedStore as error:
        if files.status(network_file(quantization.network)) is not None:
            raise
        raise UsageError(
            f"int8 features need their quantized network: {error}, or name one of these with --weights"
        ) from error
    return quantized_runtime(file, recipe, outputs)


@dataclass(frozen=True)
class _RuntimesTogether:
    """Several runtimes as one, whose outputs are those of all: each computes the same pixels."""

    runtimes: Sequence[Runtime]

    @property
    def shapes(self) -> Sequence[tuple[int, ...]]:
        """See Runtime."""
        return [shape for runtime in self.runtimes for shape in runtime.shapes]

    @property
    def environment(self) -> Mapping[str, str]:
        """See Runtime; that of the first."""
        return self.runtimes[0].environment

    @property
    def batch_size(self) -> int:
        """See Runtime; enough for all calls that any of them has in progress, which are fewer at the end of a batch."""
        return max(_LEAST_TOGETHER, *(runtime.batch_size * runtime.in_flight for runtime in self.runtimes))

    @property
    def in_flight(self) -> int:
        """See Runtime."""
        return 1

    def start(self, images: Sequence[npt.NDArray[np.uint8]]) -> "_PendingTogether":
        """See Runtime; each runtime has calls of its own batch size."""
        calls: list[_Calls] = []
        with _drained_on_error(calls):
            for runtime in self.runtimes:
                calls.append(_Calls(runtime, images))  # noqa: PERF401  those that started are drained if one fails
        return _PendingTogether(calls)


@contextmanager
def _drained_on_error(calls: Iterable["_Calls"]) -> Iterator[None]:
    """End the calls that are in progress if one fails: a runtime whose calls have not ended takes no others."""
    try:
        yield
    except BaseException:
        for call in calls:
            call.drain()
        raise


class _Calls:
    """Images of one runtime, in as many calls as they take; the first are in progress, the others start after them."""

    def __init__(self, runtime: Runtime, images: Sequence[npt.NDArray[np.uint8]]) -> None:
        self._runtime = runtime
        size = runtime.batch_size
        self._waiting = deque(images[start : start + size] for start in range(0, len(images), size))
        self._running = deque[Pending]()
        self._start()

    def _start(self) -> None:
        with _drained_on_error([self]):
            while self._waiting and len(self._running) < self._runtime.in_flight:
                self._running.append(self._runtime.start(self._waiting.popleft()))

    def drain(self) -> None:
        """Wait for those in progress, whatever comes of them."""
        while self._running:
            with suppress(Exception):
                self._running.popleft().result()

    def result(self) -> Computed:
        """Wait for all of them; if one fails, for those in progress."""
        found = []
        with _drained_on_error([self]):
            while self._running:
                found.append(self._running.popleft().result())
                self._start()
        tensors = zip(*(computed.tensors for computed in found), strict=True)
        largest = zip(*(computed.largest for computed in found), strict=True)
        return Computed([np.concatenate(parts) for parts in tensors], [np.concatenate(parts) for parts in largest])


@dataclass(frozen=True)
class _PendingTogether:
    """Calls in progress in each of several runtimes."""

    calls: Sequence[_Calls]

    def result(self) -> Computed:
        """Wait for all of them."""
        with _drained_on_error(self.calls):
            found = [call.result() for call in self.calls]
        return Computed(
            [tensor for computed in found for tensor in computed.tensors],
            [largest for computed in found for largest in computed.largest],
        )


def extract_with_all(
    extractors: Sequence[FeatureExtractor],
    paths: Sequence[str],
    reporter: Reporter = SILENT,
    pixels: Mapping[str, Image] | None = None,
) -> Iterator[ShardContent]:
    """What several extractors give whose recipes decode images alike; each image is read and decoded once.

    Args:
        extractors: no two of their outputs have the same name.
        paths: see `FeatureExtractor.extract`.
        reporter: shows progress.
        pixels: see `FeatureExtractor.extract`.
    """
    outputs = [output for extractor in extractors for output in extractor.outputs]
    runtimes = [extractor.runtime for extractor in extractors]
    runtime = runtimes[0] if len(runtimes) == 1 else _RuntimesTogether(runtimes)
    files, policy = NamedFiles(paths, pixels), decode_policy(extractors[0].recipe, MAX_PIXELS)
    yield from extract_files(paths, files, policy, runtime, outputs, reporter)


def same_pixels(first: Recipe, second: Recipe) -> bool:
    """Whether two recipes make the same pixels of every image."""
    return decode_policy(first, MAX_PIXELS) == decode_policy(second, MAX_PIXELS)


def recipe_weights(recipe: Recipe, weights: str) -> Weights:
    """Where a recipe's weights are now.

    Raises:
        UsageError: they are not there.
    """
    try:
        return _find_weights(recipe, weights)
    except UsageError as error:
        raise _weights_needed(recipe, error) from error


def _find_weights(recipe: Recipe, weights: str) -> Weights:
    if not isinstance(recipe_backbone(recipe), FileBackbone):
        return Weights.parse(weights)
    path = find_model(Path(weights), recipe.backbone)
    if not path.is_file():
        raise UsageError(f"{printable(weights)}: no such file; expected {shown_name(recipe.backbone)}, or its folder")
    return Weights("file", path=os.path.abspath(path))


def _weights_needed(recipe: Recipe, error: UsageError) -> UsageError:
    return UsageError(
        f"the weights of {shown_name(recipe.backbone)} that the features were extracted with are needed ({error.message}); "
        "name them with --weights FILE",
        error.example,
    )


def _require_weights(recipe: Recipe, weights: str, digest: str | None) -> None:
    """Raise RecipeMismatch unless weights have the recipe's digest, if that is known."""
    if digest is not None and digest != recipe.weights:
        raise RecipeMismatch(
            f"the weights {weights} have the digest {digest[:12]}…, the recipe has {recipe.weights[:12]}…: "
            "name the weights that the features were extracted with, --weights FILE"
        )


def _require_shape(recipe: Recipe, output: Output, shape: tuple[int, ...]) -> None:
    if shape != output.shape:
        raise RecipeMismatch(
            f"{recipe.backbone} gives {shape} at {output.layer}, the recipe has {output.shape}: "
            "another Keras version may build it differently"
        )


@dataclass(frozen=True)
class _MemorySink:
    """Hands shards back as they are."""

    outputs: Sequence[Output]

    def check(self, refused: Sequence[Failure]) -> None:
        """Accepts failures: each is reported with its image."""

    def pack(self, _: Tensor) -> None:
        """Nothing: shards are not stored."""

    def finish(self, _: ImageGroup, content: ShardContent) -> ShardContent:
        """The shard itself."""
        return content


def extract_files(
    paths: Sequence[str],
    files: ReadableFiles,
    policy: DecodePolicy,
    runtime: Runtime,
    outputs: Sequence[Output],
    reporter: Reporter = SILENT,
) -> Iterator[ShardContent]:
    """What a runtime with those outputs gives for the files of those names, in the order of the paths."""
    loader = ImageLoader(files, policy, None, usable_cores())
    groups = (unlabelled(paths[start : start + _IMAGES_AT_ONCE]) for start in range(0, len(paths), _IMAGES_AT_ONCE))
    with without_pillow_limits(), reporter.progress(len(paths)) as progress:
        yield from run_pipeline(groups, loader, runtime, _MemorySink(outputs), Monitor(progress=progress))
