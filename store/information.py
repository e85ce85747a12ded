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


def run_options(features: FeatureStore) -> dict[str, object]:
    """The options of the `extract run` that makes such a store, by their names on the command line.

    Options that change no feature, such as the batch size, are left out.
    """
    snapshot, recipe = features.snapshot, features.recipe
    environments = [record.environment for record in snapshot.records.values()]
    weights = next((found["weights"] for found in environments if found.get("weights")), None)
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
    }
    if recipe.augment:
        altered = asdict(recipe.augment)
        options |= {"augment": altered.pop("views"), **altered}
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
        data=snapshot.current.data if snapshot.current else "",
        shards=len(snapshot.records),
        shard_bytes=sum(record.shard_bytes for record in snapshot.records.values()),
        counts=snapshot.counts(),
    )
