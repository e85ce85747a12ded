"""A recipe brought to life again: image files -> features, just as a store of that recipe would hold them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights
from extract.images.decode import DecodePolicy, decode_policy, own_limits
from extract.pipeline import run_tasks
from extract.progress import Clock, Progress, Silence
from extract.request import MAX_PIXELS
from extract.runtimes import Runtime
from extract.runtimes.device import usable_cores
from extract.runtimes.load import NetworkSpec, load_runtime
from extract.shard_builder import ImagePreparer, ShardBuilder, ShardTask, listed_task
from extract.sources.reading import NamedImages
from store.errors import RecipeMismatch
from store.formats import Shard
from store.recipe import Output, Recipe, stored_dtype
from store.records import Failure

_CHUNK_ROWS = 256


@dataclass(frozen=True)
class Extracted:
    """Some images' rows and tensors, and those that gave none."""

    shard: Shard
    failures: tuple[Failure, ...]


class Extractor:
    """A recipe's network, loaded, for one of its outputs.

    Args:
        recipe: what the features depend on.
        output: which of its columns.
        weights: where the weights are: imagenet, random:SEED or a file.
        debug: whether the libraries' own messages are shown.

    Raises:
        UsageError: there are no such weights.
        PrecisionMissing: this machine does not compute in the recipe's precision.
        RecipeMismatch: they are not those of the recipe.
    """

    def __init__(self, recipe: Recipe, output: Output, weights: str, debug: bool = False) -> None:
        self.recipe = recipe
        self.output = output
        wanted = NetworkSpec(
            get_backbone(recipe.backbone),
            Weights.parse(weights),
            recipe.image_size,
            (output.layer,),
            output.pooling,
            # As the run asked for it in most cases: then the model that it converted serves here too.
            "auto" if stored_dtype("auto", output.spatial) == output.dtype else output.dtype,
            recipe.precision,
        )
        self.runtime, digest = load_runtime(wanted, debug=debug)
        if digest != recipe.weights:
            raise RecipeMismatch(
                f"the weights {weights} have the digest {digest[:12]}…, the recipe has {recipe.weights[:12]}…: "
                "name the weights that the features were extracted with, --weights FILE"
            )
        if tuple(self.runtime.shapes[0]) != output.shape:
            raise RecipeMismatch(
                f"{recipe.backbone} gives {tuple(self.runtime.shapes[0])} at {output.layer}, the recipe has "
                f"{output.shape}: another Keras version may build it differently"
            )

    def __call__(
        self, paths: Sequence[str], progress: Callable[[int], Progress] = lambda _: Silence()
    ) -> Iterator[Extracted]:
        """Features of image files, in the order of the paths (row names, relative to the current folder)."""
        policy = decode_policy(self.recipe, MAX_PIXELS)
        yield from extracted(paths, policy, self.runtime, self.output, progress)

    def of_pixels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Features (rows, *shape), as stored, of pixels (rows, height, width, 3) of the recipe's size."""
        size = self.runtime.batch_size
        calls = (self.runtime.start(list(pixels[start : start + size])) for start in range(0, len(pixels), size))
        return np.concatenate([call.result().tensors[0] for call in calls])


def extracted(
    paths: Sequence[str],
    policy: DecodePolicy,
    runtime: Runtime,
    output: Output,
    progress: Callable[[int], Progress] = lambda _: Silence(),
) -> Iterator[Extracted]:
    """What a runtime with that one output gives for image files, in the order of the paths, some hundred at a time."""
    clock = Clock()
    prepare = ImagePreparer(NamedImages(paths), policy, usable_cores(), clock)
    with own_limits(), progress(len(paths)) as shown:
        yield from run_tasks(
            _tasks(paths),
            prepare,
            runtime,
            _extracted,
            (output,),
            workers=prepare.threads,
            clock=clock,
            progress=shown,
            stop=threading.Event(),
            new_store=False,
        )


def _extracted(collection: ShardBuilder) -> Extracted:
    return Extracted(collection.shard(), tuple(collection.failures))


def _tasks(paths: Sequence[str]) -> Iterator[ShardTask]:
    for index, start in enumerate(range(0, len(paths), _CHUNK_ROWS)):
        yield listed_task(paths[start : start + _CHUNK_ROWS], index)
