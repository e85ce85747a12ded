"""Small stores made without a network: a feature is random numbers that depend on the image alone."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from store.files.base import Files
from store.files.local import LocalFiles
from store.formats import Shard, get_format
from store.formats.base import ROW_SCHEMA
from store.image_records import Failure, Row, failure_table, row_table
from store.plan import LISTING_SCHEMA, make_plan, plan_is_current
from store.recipe import Output, Recipe
from store.records import ShardSlot, StoreInfo
from store.snapshot import latest_slots, load_snapshot
from store.writer import ShardContent, StoreWriter

SPATIAL = Output("features", "top", "none", (2, 3, 4), "float16")
VECTOR = Output("features", "top", "avg", (5,), "float32")

BROKEN = "broken"
"""The content of an image that cannot be decoded."""


def make_recipe(**changed):
    values = {
        "backbone": "mobilenet",
        "weights": "0123456789abcdef" * 4,
        "layers": ("top",),
        "pooling": "avg",
        "image_size": (224, 160),
        "resize": "bilinear",
        "crop": "stretch",
        "background": "#ffffff",
        "precision": "float32",
        "dtypes": ("float32",),
    }
    return Recipe(**{**values, **changed})


def make_info(outputs=(VECTOR,), shard_format="parquet"):
    """What store.json says of a store of these outputs."""
    recipe = make_recipe(
        layers=tuple(output.layer for output in outputs),
        pooling=outputs[0].pooling,
        dtypes=tuple(output.dtype for output in outputs),
    )
    return StoreInfo(recipe, tuple(outputs), shard_format)


@dataclass(frozen=True)
class Image:
    """A source image as a store sees it: all contents have the same length."""

    content: str = "first"
    label: str | None = None
    split: str | None = None
    group: str | None = None

    @property
    def sha256(self):
        return hashlib.sha256(self.content.encode()).hexdigest()


def make_images(*paths, **described):
    return {path: Image(**described) for path in paths}


def make_listing(images):
    """The sorted listing of `images`, a dict from path to Image."""
    paths = sorted(images)
    return pa.table(
        {
            "path": paths,
            **{name: [getattr(images[path], name) for path in paths] for name in ("label", "split", "group")},
            "size": [100] * len(paths),
            "time": [1] * len(paths),
        },
        schema=LISTING_SCHEMA,
    )


def keys_of(listing, committed):
    """For each row of a listing its shard key in `committed`, a dict from path to key, or null."""
    return pa.array([committed.get(path) for path in listing["path"].to_pylist()], pa.string())


def feature_of(path, image, output):
    """The feature of one image: other images, and other outputs, have others."""
    seed = hashlib.sha256(f"{path}\0{image.content}\0{output.name}".encode(errors="surrogatepass")).digest()
    values = np.random.default_rng(list(seed)).normal(size=output.shape)
    return values.astype(output.dtype)


def features_of(images, paths, output):
    tensors = [feature_of(path, images[path], output) for path in paths]
    return np.stack(tensors) if tensors else np.empty((0, *output.shape), output.dtype)


def make_shard(images, paths, outputs):
    rows = {
        "path": paths,
        **{name: [getattr(images[path], name) for path in paths] for name in ("label", "split", "group")},
        "view": [0] * len(paths),
        "width": [64] * len(paths),
        "height": [48 + number for number in range(len(paths))],
        "sha256": [images[path].sha256 for path in paths],
    }
    tensors = {output.name: features_of(images, paths, output) for output in outputs}
    return Shard(pa.table(rows, schema=ROW_SCHEMA), tensors)


class SmallStore:
    """A store under construction, in a folder or in any `Files`; `update` does to it what a run over `images` does."""

    def __init__(self, root, outputs=(VECTOR,), shard_format="parquet"):
        self.folder = root if isinstance(root, Files) else LocalFiles(root)
        self.info = make_info(outputs, shard_format)
        self.writer = StoreWriter(self.folder)
        self.writer.create(self.info)

    @property
    def snapshot(self):
        return load_snapshot(self.folder)

    def update(self, images, images_per_shard=2, stop_after=None):
        """Plan and commit what is new or changed, at most `stop_after` shards; returns the current plan."""
        snapshot = self.snapshot
        listing = make_listing(images)
        committed = {
            row["path"]: row["shard_key"]
            for row in snapshot.committed_images().to_pylist()
            if row["path"] in images and row["sha256"] == images[row["path"]].sha256
        }
        shard_keys = keys_of(listing, committed)
        if snapshot.plan is None or not plan_is_current(
            snapshot.plan, listing, shard_keys, snapshot.uncommitted_shards()
        ):
            self.publish(make_plan(listing, shard_keys, images_per_shard, snapshot.number + 1))
            snapshot = self.snapshot
        for index in snapshot.uncommitted_shards()[:stop_after]:
            self.commit(snapshot.plan, index, images)
        return snapshot.plan

    def publish(self, plan):
        assert self.writer.publish_plan(plan, "/data")

    def commit(self, plan, index, images, paths=None):
        """Commit one shard of a plan; `paths` other than the plan's make a record that is wrong."""
        paths = plan.shard_images(index)["path"].to_pylist() if paths is None else paths
        slot = ShardSlot(plan.name, index, self.attempts(plan.name).get(index, 0) + 1)
        record = self.writer.commit(slot, self.content(images, paths), {"runtime": "none"})
        assert record.attempt == slot.attempt
        return record

    def attempts(self, plan_name):
        """For each shard of a plan that was ever committed, its highest attempt."""
        return {slot.index: slot.attempt for slot in latest_slots(self.folder, plan_name)}

    def content(self, images, paths):
        """What a run over the images of `paths` commits."""
        good = [path for path in paths if images[path].content != BROKEN]
        failures = [
            Failure(path, "decode", "not an image", images[path].sha256, 100, 1)
            for path in paths
            if images[path].content == BROKEN
        ]
        rows = [Row(path, images[path].sha256, 100, 1) for path in good]
        return ShardContent(make_shard(images, good, self.info.outputs), row_table(rows), failure_table(failures))

    def leave_shard(self, images, paths):
        """Leave a shard file that no record names, as a run does that is killed before its record; returns its name."""
        data = self.writer.encode(self.content(images, paths), self.info)
        name = f"{hashlib.sha256(data).hexdigest()}.{get_format(self.info.shard_format).suffix}"
        self.folder.create(f"data/{name}", data)
        return name

    # For damage

    def shard_file(self, plan, index):
        record = self.snapshot.records[f"{plan.name}/{index}"]
        return self.folder.path(f"data/{record.shard}")

    def record_file(self, plan, index, attempt=1):
        return self.folder.path(ShardSlot(plan.name, index, attempt).file)

    def files(self):
        """Every file's bytes, by name within the store."""
        root = self.folder.root
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def edit_json(path, **changed):
    """Change fields of a JSON file where it lies."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def flip_bit(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
