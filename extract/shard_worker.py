"""Computing a plan's shards: in the same way in this process, in another one, and on another machine.

A `ShardWorker` is plain data that can be sent to other processes. The network is not part of it: each process loads
its own.
"""

import importlib.metadata
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from extract.backbones.weights import require_weights
from extract.images.decode import DecodePolicy, without_pillow_limits
from extract.images.loader import ImageLoader, SharedLoader
from extract.monitor import Clock, Monitor
from extract.pipeline import Lane, run_lanes
from extract.runtimes.device import usable_cores
from extract.runtimes.load import NetworkSpec, load_runtime, require_int8
from extract.shard_builder import ShardTask, StoreSink
from extract.sources.reading import open_images
from store.errors import EnvironmentFailure, RecipeMismatch
from store.files.base import Files
from store.files.opening import open_files
from store.image_records import Failure
from store.known import KNOWN, KnownFeatures
from store.progress import SILENT, Reporter
from store.quantization import Quantization, local_network
from store.records import CommitRecord, StoreInfo
from store.writer import StoreWriter

if TYPE_CHECKING:
    from extract.runtimes.base import Runtime


@dataclass(frozen=True)
class ShardWorker:
    """What it takes to compute a plan's shards, beside the shards themselves.

    Attributes:
        info: what the store holds.
        network: the network to compute with.
        store: the store's folder, as an absolute path or a URL.
        images: the folder that the images' paths are relative to, as an absolute path or a URL.
        policy: how images become pixels.
        decoders: decoding threads; None for one per core.
        single_writer: the caller guarantees that nobody else writes to the store.
        known: features that the store has already, which may be those of images under new names (`store.known.KNOWN`).
        may_only_copy: whether every image has the size of a known one, so that perhaps no network is needed.
    """

    info: StoreInfo
    network: NetworkSpec
    store: str
    images: str
    policy: DecodePolicy
    decoders: int | None
    single_writer: bool = False
    known: pa.Table = field(default_factory=KNOWN.empty_table)
    may_only_copy: bool = False

    @property
    def decoder_threads(self) -> int:
        """How many threads decode on this machine."""
        return self.decoders or usable_cores()

    def files(self) -> Files:
        """The store's files."""
        return open_files(self.store, self.single_writer)

    def require_place(self) -> None:
        """Raise EnvironmentFailure unless the store, the images and the weights can be reached from this machine."""
        try:
            there = StoreWriter(self.files()).info
        except FileNotFoundError:
            raise EnvironmentFailure(
                f"the store {self.store} cannot be reached from here: it must be on a shared file system"
            ) from None
        if there.recipe.fingerprint != self.info.recipe.fingerprint:
            raise EnvironmentFailure(f"{self.store} is another store here: the same path must be the same folder")
        if not open_images(self.images).exists():
            raise EnvironmentFailure(
                f"the images' folder {self.images} cannot be reached from here: it must be on a shared file system"
            )
        if self.info.recipe.quantization is not None:  # the network is in the store
            return
        require_weights(self.network.backbone, self.network.weights)
        weights = self.network.weights
        if weights.kind == "file" and not os.path.isfile(weights.path):
            raise EnvironmentFailure(
                f"the weights file {weights.path} cannot be reached from here: it must be on a shared file system"
            )

    def require_network(self, runtime: "Runtime", digest: str) -> None:
        """Raise RecipeMismatch unless the runtime computes what the store holds."""
        shapes = tuple(output.shape for output in self.info.outputs)
        if digest != self.info.recipe.weights or tuple(runtime.shapes) != shapes:
            raise RecipeMismatch(
                f"the weights or shapes of {self.network.backbone.name} differ from those that {self.store} was made "
                "with: another Keras version may build it differently; install the one that the store's commit "
                "records name, or choose another --out"
            )

    def load(self, reporter: Reporter = SILENT) -> "Runtime":
        """The runtime, checked against the store; takes seconds.

        Raises:
            RecipeMismatch: it does not compute what the store holds.
        """
        quantization = self.info.recipe.quantization
        if quantization is None:
            runtime, digest = load_runtime(self.network, reporter)
        else:
            runtime, digest = self._load_quantized(quantization), self.info.recipe.weights
        self.require_network(runtime, digest)
        return runtime

    def _load_quantized(self, quantization: Quantization) -> "Runtime":
        """The store's own network in 8 bits; it was made of the recipe's weights."""
        require_int8(self.network.runtime, self.network.device)
        from extract.runtimes.quantized import quantized_runtime

        file = local_network(self.files(), quantization.network)
        return quantized_runtime(file, self.info.recipe, self.info.outputs, self.network.batch_size or 1)

    def environment(self, runtime: "Runtime") -> dict[str, str]:
        """What commit records say about where and with which versions they were made."""
        versions = {name: importlib.metadata.version(name) for name in ("stillframe", "pillow", "numpy")}
        with suppress(importlib.metadata.PackageNotFoundError):
            versions["pillow-heif"] = importlib.metadata.version("pillow-heif")
        computed = dict(runtime.environment)  # none of a network that has not been needed
        if computed:
            computed["batch_size"] = str(runtime.batch_size)
        return {**computed, "weights": self.network.weights.spelled(), "threads": str(usable_cores()), **versions}

    def loader(self) -> ImageLoader:
        """What loads the images."""
        return ImageLoader(
            open_images(self.images),
            self.policy,
            self.info.recipe.augment,
            self.decoder_threads,
            KnownFeatures(self.files(), self.info, self.known) if len(self.known) else None,
        )

    def sink(self, runtime: "Runtime", clock: Clock, new_store: bool, stores: int = 1) -> StoreSink:
        """What commits the shards that a runtime computes, see `Assignment`; `stores` are filled in the same pass."""
        writer = StoreWriter(self.files(), self.info)
        return StoreSink(writer, self.info.outputs, partial(self.environment, runtime), clock, new_store, stores)


@dataclass(frozen=True)
class Assignment:
    """Shards for one worker to compute.

    Attributes:
        worker: whose store and images they are.
        tasks: the shards.
        runtime: the network, which may be loaded later.
        new_store: whether the first batch may still show that the stored type does not fit.
    """

    worker: ShardWorker
    tasks: Iterable[ShardTask]
    runtime: "Runtime"
    new_store: bool

    def lane(self, clock: Clock, stores: int) -> Lane[ShardTask, CommitRecord]:
        """These shards as a lane of the loop with this clock, in a pass that fills this number of stores."""
        return Lane(self.tasks, self.runtime, self.worker.sink(self.runtime, clock, self.new_store, stores))


def run_assignments(
    assignments: Sequence[Assignment], monitor: Monitor, failures: Mapping[str, Failure] | None = None
) -> Iterator[tuple[int, CommitRecord]]:
    """Compute shards in order, those of several stores in one pass over the same images.

    Args:
        assignments: the shards of each store.
        monitor: observes the loop and stops it.
        failures: images, by path, that are known to fail and must not be read.

    Yields:
        The record of each shard once it is published, with its assignment's position.
    """
    loader = SharedLoader([assignment.worker.loader() for assignment in assignments], failures)
    lanes = [assignment.lane(monitor.clock, len(assignments)) for assignment in assignments]
    with without_pillow_limits():
        for number, record in run_lanes(lanes, loader, monitor):
            failed = len(record.failures)
            monitor.progress.commit(len(record.rows) + failed, failed)
            yield number, record
