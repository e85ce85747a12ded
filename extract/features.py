"""A recipe brought to life again: image files -> features, just as a store of that recipe would hold them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights
from extract.decode import decode_policy, own_limits
from extract.options import MAX_PIXELS, automatic_batch_size, automatic_workers
from extract.pipeline import run_tasks
from extract.progress import Clock, Progress, Silence
from extract.run import load_runtime
from extract.task import Collection, ShardTask, prepare
from store.errors import RecipeMismatch
from store.formats import Shard
from store.plan import DESCRIPTION, LISTING_SCHEMA
from store.recipe import Output, Recipe
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
        RecipeMismatch: they are not those of the recipe.
    """

    def __init__(self, recipe: Recipe, output: Output, weights: str, debug: bool = False) -> None:
        self.recipe = recipe
        self.output = output
        self.runtime, digest = load_runtime(
            get_backbone(recipe.backbone),
            Weights.parse(weights),
            recipe.image_size,
            (output.layer,),
            output.pooling,
            debug,
        )
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
        clock = Clock()
        with own_limits(), progress(len(paths)) as shown:
            yield from run_tasks(
                _tasks(paths),
                partial(prepare, Path(), policy=policy, clock=clock),
                self.runtime,
                _extracted,
                (self.output,),
                batch_size=automatic_batch_size(self.recipe.image_size),
                workers=automatic_workers(),
                clock=clock,
                progress=shown,
                stop=threading.Event(),
                new_store=False,
            )

    def of_pixels(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Features (rows, *shape), as stored, of pixels (rows, height, width, 3) of the recipe's size."""
        size = automatic_batch_size(self.recipe.image_size)
        parts = []
        for start in range(0, len(pixels), size):
            batch = np.zeros((size, *pixels.shape[1:]), np.uint8)  # one shape, so that nothing is recompiled
            part = pixels[start : start + size]
            batch[: len(part)] = part
            parts.append(self.runtime(batch)[0][: len(part)])
        return np.concatenate(parts).astype(self.output.dtype)


def _extracted(collection: Collection) -> Extracted:
    return Extracted(collection.shard(), tuple(collection.failures))


def _tasks(paths: Sequence[str]) -> Iterator[ShardTask]:
    schema = pa.schema([LISTING_SCHEMA.field(name) for name in DESCRIPTION])
    for index, start in enumerate(range(0, len(paths), _CHUNK_ROWS)):
        part = paths[start : start + _CHUNK_ROWS]
        nothing = [None] * len(part)
        rows = pa.table({"path": part, "label": nothing, "split": nothing, "group": nothing}, schema=schema)
        yield ShardTask("", index, 1, rows)
