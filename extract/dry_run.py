"""A few images, computed and encoded as a run would do it, to tell what the whole run would take."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from extract.images.decode import DecodePolicy, own_limits
from extract.pipeline import run_tasks
from extract.progress import Clock, Progress
from extract.runtimes import Runtime
from extract.shard_builder import ImagePreparer, encoded_bytes, listed_task
from extract.sources.reading import Images
from store.records import StoreInfo

_IMAGES = 64
_BATCHES = 4
_SECONDS = 3.0


@dataclass(frozen=True)
class Sample:
    """How many images were computed, what that was measured to take, and the bytes they would take in a store."""

    images: int
    clock: Clock
    encoded: int


def first_size(runtime: Runtime, images: int) -> int:
    """How many of the images to compute at first: a few batches."""
    return min(images, max(_IMAGES, _BATCHES * runtime.batch_size))


def telling_size(sample: Sample, images: int) -> int:
    """How many of the images keep the machine busy for some seconds, going by a first sample."""
    return min(images, max(sample.images, round(_SECONDS * sample.images / sample.clock.span)))


def compute_sample(
    info: StoreInfo,
    images: Images,
    paths: Sequence[str],
    runtime: Runtime,
    policy: DecodePolicy,
    workers: int,
    progress: Progress,
) -> Sample:
    """Read, decode, compute and encode these images; nothing is written."""
    clock = Clock()
    prepare = ImagePreparer(images, policy, workers, clock, info.recipe.augment)
    with own_limits(), progress:
        (encoded,) = run_tasks(
            [listed_task(paths, views=info.recipe.views)],
            prepare,
            runtime,
            partial(encoded_bytes, info),
            info.outputs,
            workers=prepare.threads,
            clock=clock,
            progress=progress,
            stop=threading.Event(),
            new_store=True,
        )
    return Sample(len(paths), clock, encoded)
