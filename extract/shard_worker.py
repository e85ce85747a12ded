"""Carrying out shard tasks: the same way in this process, in another and on another machine.

`ShardWorker` is all that it takes beside the tasks themselves. It is plain data, so that it can be sent to other processes;
the network is not in it, each process loads its own.
"""

import importlib.metadata
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from extract.backbones.weights import require_weights
from extract.images.decode import DecodePolicy, own_limits
from extract.pipeline import run_tasks
from extract.progress import Clock, Progress
from extract.runtimes.device import usable_cores
from extract.runtimes.load import NetworkSpec, Tell, load_runtime
from extract.shard_builder import ImagePreparer, PreparedView, ShardTask, commit
from extract.sources.reading import images_at
from store.errors import EnvironmentFailure, RecipeMismatch
from store.files.base import INFO, Files
from store.files.opening import open_files
from store.records import CommitRecord, Failure, StoreInfo

if TYPE_CHECKING:
    from extract.runtimes import Runtime


@dataclass(frozen=True)
class ShardWorker:
    """What shard tasks are carried out with.

    Attributes:
        info: what the store holds.
        wanted: the network to compute with.
        store: the store's folder: an absolute path, or a URL.
        root: the folder that the images' paths are relative to.
        policy: how images become pixels.
        workers: decoding threads; None for one a core.
        single_writer: nobody else writes to the store, which cannot keep two apart.
    """

    info: StoreInfo
    wanted: NetworkSpec
    store: str
    root: str
    policy: DecodePolicy
    workers: int | None
    single_writer: bool = False

    def folder(self) -> Files:
        """The store's folder."""
        return open_files(self.store, self.single_writer)

    def require_place(self) -> None:
        """Raise EnvironmentFailure if the store, the images or the weights cannot be reached from here."""
        folder = self.folder()
        try:
            there = StoreInfo.from_bytes(folder.read(INFO))
        except FileNotFoundError:
            raise EnvironmentFailure(f"the store {self.store} is not to be seen from here: it must be shared") from None
        if there.recipe.fingerprint != self.info.recipe.fingerprint:
            raise EnvironmentFailure(f"{self.store} is another store here: the same path must be the same folder")
        if not images_at(self.root).exists():
            raise EnvironmentFailure(f"the images' folder {self.root} is not to be seen from here: it must be shared")
        require_weights(self.wanted.backbone, self.wanted.weights)

    def require_network(self, runtime: "Runtime", digest: str) -> None:
        """Raise RecipeMismatch unless the runtime computes what the store holds."""
        shapes = tuple(output.shape for output in self.info.outputs)
        if digest != self.info.recipe.weights or tuple(runtime.shapes) != shapes:
            raise RecipeMismatch(
                f"the weights or shapes of {self.wanted.backbone.name} are not what {self.store} was made with: "
                "another Keras version may build it differently; install the one the store names, or use another --out"
            )

    def load(self, tell: Tell = lambda _: None, debug: bool = False) -> "Runtime":
        """The runtime, checked; takes seconds.

        Raises:
            RecipeMismatch: it does not compute what the store holds.
        """
        runtime, digest = load_runtime(self.wanted, tell, debug)
        self.require_network(runtime, digest)
        return runtime

    def environment(self, runtime: "Runtime") -> dict[str, str]:
        """What commit records say of where they were made."""
        versions = {name: importlib.metadata.version(name) for name in ("stillframe", "pillow", "numpy")}
        weights = self.wanted.weights.spelled()
        return {**runtime.environment, "weights": weights, "batch_size": str(runtime.batch_size), **versions}

    def run_shards(
        self,
        tasks: Iterable[ShardTask],
        runtime: "Runtime",
        *,
        clock: Clock,
        progress: Progress,
        stop: threading.Event,
        new_store: bool = False,
        known: Mapping[str, Failure] | None = None,
    ) -> Iterator[CommitRecord]:
        """Do them in order, and give the record of each once it is published.

        Args:
            tasks: what to do.
            runtime: computes.
            clock: takes the time.
            progress: is told of every batch.
            stop: ends it, with StoppedEarly.
            new_store: whether the first batch may still show that the stored type does not fit.
            known: images, by path, that are known to fail and must not be looked at.
        """
        workers = self.workers or usable_cores()
        prepare = ImagePreparer(images_at(self.root), self.policy, workers, clock, self.info.recipe.augment)

        def prepare_unless_known(path: str) -> list[PreparedView] | Failure:
            return known[path] if known and path in known else prepare(path)

        with own_limits():
            yield from run_tasks(
                tasks,
                prepare_unless_known,
                runtime,
                partial(commit, self.folder(), self.info, environment=self.environment(runtime)),
                self.info.outputs,
                workers=prepare.threads,
                clock=clock,
                progress=progress,
                stop=stop,
                new_store=new_store,
            )
