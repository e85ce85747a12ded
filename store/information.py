"""What a store holds and how it was made, as plain values."""

from dataclasses import asdict, dataclass

from store.reader import FeatureStore
from store.recipe import Output, Recipe
from store.snapshot import Counts


@dataclass(frozen=True)
class StoreDescription:
    """What a store holds.

    Attributes:
        store: its folder or URL.
        fingerprint: of the recipe.
        recipe: what the features depend on.
        outputs: the columns of features.
        shard_format: hdf5 or parquet.
        data: where the images were, as a row name; empty before the first plan.
        shards: that the current plan refers to.
        shard_bytes: their bytes together.
        counts: images, rows, failures and pending images.
    """

    store: str
    fingerprint: str
    recipe: Recipe
    outputs: tuple[Output, ...]
    shard_format: str
    data: str
    shards: int
    shard_bytes: int
    counts: Counts

    def to_dict(self) -> dict[str, object]:
        """The keys of `store info --json`."""
        return {
            "store": self.store,
            "fingerprint": self.fingerprint,
            "recipe": self.recipe.to_dict(),
            "outputs": [output.to_dict() for output in self.outputs],
            "format": self.shard_format,
            "data": self.data,
            "shards": self.shards,
            "bytes": self.shard_bytes,
            **asdict(self.counts),
        }


def describe_store(features: FeatureStore) -> StoreDescription:
    """What an opened store holds."""
    snapshot = features.snapshot
    return StoreDescription(
        store=str(features.folder),
        fingerprint=features.fingerprint,
        recipe=features.recipe,
        outputs=tuple(features.outputs.values()),
        shard_format=snapshot.info.shard_format,
        data=snapshot.current.data if snapshot.current else "",
        shards=len(snapshot.records),
        shard_bytes=sum(record.shard_bytes for record in snapshot.records.values()),
        counts=snapshot.counts(),
    )
