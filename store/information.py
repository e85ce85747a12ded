"""The content of a store and how it was made, as plain values."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from store.files.base import Files
from store.labels import LabelCounts, count_labels
from store.plan import LISTING_SCHEMA
from store.quantization import Agreement
from store.reader import FeatureStore
from store.recipe import Output, Recipe
from store.records import CommitRecord
from store.snapshot import Counts


@dataclass(frozen=True)
class ComputedBy:
    """What shards were computed with, and how many; `threads` is that of the processor, empty where 0.5.0 did not say it."""

    runtime: str
    backend: str
    device: str
    precision: str
    threads: str
    shards: int

    @property
    def sentence(self) -> str:
        """As in `openvino 2026.4.0 on CPU, float32, 2 threads`; `keras with tensorflow 2.21.0 on NVIDIA H200, float16`."""
        name = self.backend if self.backend.startswith(self.runtime) else f"{self.runtime} with {self.backend}"
        threads = f", {self.threads} threads" if self.threads and self.device == "CPU" else ""
        return f"{name} on {self.device}, {self.precision}{threads}"


def find_computed_by(records: Iterable[CommitRecord], recipe: Recipe) -> tuple[ComputedBy, ...]:
    """What the shards of these records were computed with, the most frequent first; copies were computed by no run."""
    used = Counter(
        tuple(record.environment.get(name, "") for name in ("runtime", "backend", "device", "threads"))
        for record in records
        if len(record.rows) > record.copied
    )
    return tuple(
        ComputedBy(runtime, backend, device, recipe.precision, threads, shards)
        for (runtime, backend, device, threads), shards in used.most_common()
    )


def seconds_per_image(records: Iterable[CommitRecord]) -> float | None:
    """The mean over the images that runs read, as the records note it; None where none of them does.

    Reading, decoding, the network and writing, by the clock of the process that computed the shard; loading the network
    is not in it. Shards with features that were copied from another one are not counted.
    """
    noted = [
        (record.seconds, len(record.rows) + len(record.failures))
        for record in records
        if record.seconds is not None and not record.copied
    ]
    images = sum(count for _, count in noted)
    return sum(seconds for seconds, _ in noted) / images if images else None


@dataclass(frozen=True)
class StoreDescription:
    """What a store holds.

    Attributes:
        store: its folder or URL.
        fingerprint: of the recipe.
        recipe: what the features depend on.
        outputs: the columns of features.
        shard_format: hdf5 or parquet.
        compression: of the features: zstd, lz4 or none.
        data: where the images were, as a row name; empty before the first plan.
        shards: that the current plan refers to.
        shard_bytes: their bytes together.
        counts: images, rows, failures and pending images.
        labels: the images' classes, splits and groups.
        computed_by: what the shards were computed with.
        agreements: of precision int8, how near its features are to those of float32.
    """

    store: str
    fingerprint: str
    recipe: Recipe
    outputs: tuple[Output, ...]
    shard_format: str
    compression: str
    data: str
    shards: int
    shard_bytes: int
    counts: Counts
    labels: LabelCounts
    computed_by: tuple[ComputedBy, ...]
    agreements: tuple[Agreement, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The keys of `store info --json`."""
        return {
            "store": self.store,
            "fingerprint": self.fingerprint,
            "recipe": self.recipe.to_dict(),
            "outputs": [output.to_dict() for output in self.outputs],
            "format": self.shard_format,
            "compression": self.compression,
            "data": self.data,
            "shards": self.shards,
            "bytes": self.shard_bytes,
            **asdict(self.counts),
            **asdict(self.labels),
            "computed_by": [asdict(used) for used in self.computed_by],
            **({"agreements": [asdict(one) for one in self.agreements]} if self.agreements else {}),
        }


def weights_of(features: FeatureStore) -> str:
    """Where the weights were that a store was extracted with, as its newest record says; imagenet in older ones.

    The places differ if the weights were moved between two runs. Records are in the order of their plans' names, which
    says nothing of time, so the newest is the one whose file was published last.
    """
    place_of = {
        record.slot.file: record.environment.get("weights", "imagenet") for record in features.snapshot.records.values()
    }
    if len(set(place_of.values())) < 2:
        return next(iter(place_of.values()), "imagenet")
    return place_of[max(place_of, key=lambda file: _published(features.folder, file))]


def _published(files: Files, name: str) -> int:
    """When a file was written, in ns; -1 where that is unknown, or where the file is gone by now."""
    status = files.status(name)
    return status.modified if status else -1


def run_options(features: FeatureStore) -> dict[str, object]:
    """The options of the `extract run` that makes such a store, by their names on the command line.

    Options that change no feature, such as the batch size, are left out.
    """
    snapshot, recipe = features.snapshot, features.recipe
    weights = weights_of(features) if snapshot.records else None
    dtypes = set(recipe.dtypes)
    options: dict[str, object | None] = {
        "data": snapshot.current.data if snapshot.current else None,
        "backbone": recipe.backbone,
        "weights": weights,
        "layer": recipe.layers,
        "pooling": recipe.pooling,
        "image_size": "x".join(map(str, recipe.image_size)),
        "resize": recipe.resize,
        "crop": recipe.crop,
        "background": recipe.background,
        "precision": recipe.precision,
        "dtype": dtypes.pop() if len(dtypes) == 1 else "auto",
        "fast_decode": recipe.fast_decode or None,
        "format": snapshot.info.shard_format,
        "compression": snapshot.info.compression,
    }
    if recipe.augment:
        altered = asdict(recipe.augment)
        options |= {"augment": altered.pop("views"), **altered}
    if recipe.preprocessing:  # a model file, whose images are prepared as this very store says
        said = {"preprocessing": f"{features.folder}/store.json", "backbone": weights}
        options |= {**dict.fromkeys(("weights", "image_size", "resize", "crop")), **said}
    elif recipe.resize_to:
        # In the middle of what gives this number, for the quotient is rounded down.
        options["crop_fraction"] = round(max(recipe.image_size) / (recipe.resize_to[0] + 0.5), 9)
    return {name: value for name, value in options.items() if value is not None}


def describe_store(features: FeatureStore) -> StoreDescription:
    """What an opened store holds."""
    snapshot = features.snapshot
    return StoreDescription(
        store=str(features.folder),
        fingerprint=features.fingerprint,
        recipe=features.recipe,
        outputs=tuple(features.outputs.values()),
        shard_format=snapshot.info.shard_format,
        compression=snapshot.info.compression,
        data=snapshot.current.data if snapshot.current else "",
        shards=len(snapshot.records),
        shard_bytes=sum(record.shard_bytes for record in snapshot.records.values()),
        counts=snapshot.counts(),
        labels=count_labels(snapshot.plan.rows if snapshot.plan else LISTING_SCHEMA.empty_table()),
        computed_by=find_computed_by(snapshot.records.values(), features.recipe),
        agreements=snapshot.info.agreements,
    )
