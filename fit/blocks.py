"""Blocks: columns of features that a head takes together, from one store or from several of the same images."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from extract.api import SILENT, Reporter
from fit.data import Features, Joined, load_features
from fit.head_info import Block
from fit.rows import ImageRows, pick, select_images
from fit.splits import Positions
from store.errors import RecipeMismatch, UsageError
from store.files.names import printable, row_name
from store.information import weights_of
from store.reader import FeatureStore, open_store
from store.recipe import Output, differences
from store.snapshot import all_views

StoreLike: TypeAlias = FeatureStore | str | Path
"""A store, or its folder or URL."""

_DESCRIBING = ("label", "split", "group")


@dataclass(frozen=True)
class StoredBlock:
    """A column of features, the store that has it by its number among several, and its reduction."""

    number: int
    store: FeatureStore
    output: Output
    reduction: str

    @property
    def block(self) -> Block:
        """As head.json describes it."""
        store = self.store
        return Block(store.recipe, self.output, self.reduction, weights_of(store), row_name(store.folder.absolute))


def open_stores(given: StoreLike | Sequence[StoreLike]) -> list[FeatureStore]:
    """One store or several, each given by itself or by its folder."""
    stores = [given] if isinstance(given, FeatureStore | str | Path) else given
    return [store if isinstance(store, FeatureStore) else open_store(store) for store in stores]


# Which columns


def find_outputs(stores: Sequence[FeatureStore], names: Sequence[str]) -> list[tuple[int, Output]]:
    """The columns that are named, each with the number of its store: of each store those that it has, or its only one.

    Raises:
        UsageError: no store has a name, a store has several columns and none is named, or a column comes twice.
    """
    if len(stores) == 1 and len(names) < 2:
        return [(0, stores[0].find_output(next(iter(names), None)))]
    for name in names:
        if not any(name in store.outputs for store in stores):
            known = dict.fromkeys(known for store in stores for known in store.outputs)
            raise UsageError(f"there is no output {name!r}: choose one of {', '.join(known)}")
    found = []
    for number, store in enumerate(stores):
        named = [store.outputs[name] for name in names if name in store.outputs]
        if not named and len(store.outputs) > 1:
            raise UsageError(
                f"{store.folder} has several outputs and --output names none of them: choose of {', '.join(store.outputs)}"
            )
        found += [(number, output) for output in named or store.outputs.values()]
    _require_different(stores, found)
    return found


def _require_different(stores: Sequence[FeatureStore], found: Sequence[tuple[int, Output]]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for number, output in found:
        key = (stores[number].fingerprint, output.name)
        if key in seen:
            raise UsageError(
                f"{stores[number].folder} and {stores[seen[key]].folder} have the same recipe: several stores join "
                "other features of the same images; for more images, extract them into one store"
            )
        seen[key] = number
    if len({stores[number].recipe.augment for number, _ in found}) > 1:
        raise UsageError(
            "the stores have other altered views of the images: extract all of them with the same --augment and --seed, "
            "or without"
        )


def find_stored(blocks: Iterable[Block], stores: Sequence[FeatureStore]) -> tuple[StoredBlock, ...]:
    """Where stores have the unaltered features of a head's blocks.

    Raises:
        RecipeMismatch: no store has those of a block, or one has those of none.
    """
    blocks = list(blocks)
    recipes = len({block.recipe for block in blocks})
    found = [_find_block(block, stores, recipes) for block in blocks]
    used = {stored.number for stored in found}
    if unused := [store for number, store in enumerate(stores) if number not in used]:
        raise RecipeMismatch(f"the head takes no features of {unused[0].folder}: leave it out")
    return tuple(found)


def _find_block(block: Block, stores: Sequence[FeatureStore], recipes: int) -> StoredBlock:
    """Where stores have a block of a head with this number of recipes."""
    for number, store in enumerate(stores):
        same_recipe = store.recipe.unaltered == block.recipe.unaltered
        if same_recipe and store.outputs.get(block.output.name) == block.output:
            return StoredBlock(number, store, block.output, block.reduction)
    if recipes == len(stores) == 1:
        store = stores[0]
        lines = differences(block.recipe.unaltered, store.recipe.unaltered, "the head has", "the store has")
        if not lines:
            lines = [f"output: the head has {block.output}, the store has {list(store.outputs.values())}"]
        raise RecipeMismatch(
            f"{store.folder} was made with another recipe than the head; {'; '.join(lines)}. "
            "Extract with the head's recipe, or fit a head on this store"
        )
    raise RecipeMismatch(
        f"{' and '.join(str(store.folder) for store in stores)}: no output {block.output.name} of {block.recipe.backbone} by "
        f"the head's recipe; name one --features for each recipe of the head ({recipes}), or fit a head on what there is"
    )


# Which images


def select_common_images(
    stores: Sequence[FeatureStore],
    labels: str | os.PathLike[str] | None,
    exclude_from: str | os.PathLike[str] | None,
    reporter: Reporter = SILENT,
) -> ImageRows:
    """The images that all stores have and that two tables leave, see `fit.rows.select_images`.

    Raises:
        UsageError: there are none, a table cannot be used, or the stores contradict each other.
    """
    rows = match_images(select_images(stores[0], labels, reporter, exclude_from), stores, reporter)
    if labels is None:
        _require_same_descriptions(rows, stores)
    return rows


def match_images(rows: ImageRows, stores: Sequence[FeatureStore], reporter: Reporter = SILENT) -> ImageRows:
    """Those of the first store's images that all stores have, under the same path and with the same bytes.

    Args:
        rows: images of the first store.
        stores: at least that one.
        reporter: what is left out is reported.

    Raises:
        UsageError: there are no such images.
    """
    places: list[Positions] = []
    paths, digests = rows.texts("path"), rows.texts("sha256")
    for store in stores[1:]:
        table = store.images()
        position_of = {path: at for at, path in enumerate(table["path"].to_pylist())}
        contents = table["sha256"].to_pylist()
        found = np.array([position_of.get(path, -1) for path in paths], np.int64)
        pairs = zip(found.tolist(), digests, strict=True)
        same = np.array([at >= 0 and contents[at] == digest for at, digest in pairs], bool)
        _report_unmatched(stores[0], store, found, same, reporter)
        places.append(np.where(same, found, -1))
    everywhere = np.flatnonzero(np.all([place >= 0 for place in places], axis=0)) if places else np.arange(len(rows))
    if len(everywhere) == 0:
        raise UsageError(
            f"{' and '.join(str(store.folder) for store in stores)} have no image in common: images are matched by their "
            f"paths, such as {printable(paths[0])}, and their bytes; extract the same folder into each"
        )
    return pick(ImageRows(rows.table, rows.stored, tuple(places)), everywhere)


def _report_unmatched(
    first: FeatureStore, store: FeatureStore, found: Positions, same: Positions, reporter: Reporter
) -> None:
    missing, changed = int((found < 0).sum()), int(((found >= 0) & ~same).sum())
    more = len(store.images()) - int((found >= 0).sum())
    if missing:
        reporter.message(f"{missing:,} images of {first.folder} are not in {store.folder}: left out")
    if changed:
        reporter.message(f"{changed:,} images have other bytes in {store.folder} than in {first.folder}: left out")
    if more > 0:
        reporter.message(f"{more:,} images of {store.folder} are not among those of {first.folder}: left out")


def _require_same_descriptions(rows: ImageRows, stores: Sequence[FeatureStore]) -> None:
    """Raise UsageError if a store has another label, split or group for an image than the first one has."""
    for store, places in zip(stores[1:], rows.elsewhere, strict=True):
        table = store.images().take(places)
        for name in _DESCRIBING:
            pairs = zip(rows.table[name].to_pylist(), table[name].to_pylist(), strict=True)
            other = [at for at, (mine, theirs) in enumerate(pairs) if None not in (mine, theirs) and mine != theirs]
            if other:
                path, mine, theirs = (
                    printable(str(source[column][other[0]]))
                    for source, column in ((rows.table, "path"), (rows.table, name), (table, name))
                )
                raise UsageError(
                    f"the {name} of {len(other):,} images is another one in {store.folder} than in {stores[0].folder}: "
                    f"{path} has {theirs} there and {mine} here; say which one holds with --labels FILE, or extract "
                    "both from the same folder or listing"
                )


# Their features


def load_blocks(
    blocks: Sequence[StoredBlock], rows: ImageRows, streams: bool, views: int = 1, reporter: Reporter = SILENT
) -> Features:
    """The features of those images, reduced, blocks side by side: those of image i are rows i * views and on.

    Args:
        blocks: which columns.
        rows: the images, matched if there are several stores.
        streams: see `fit.data.load_features`.
        views: how many of each image's views; 1 for the unaltered one alone.
        reporter: shows progress.

    Raises:
        UsageError: see `fit.data.load_features`.
    """
    loaded = []
    for block in blocks:
        images, of_each = rows.positions(block.number), block.store.recipe.views
        stored = images * of_each if views == 1 else all_views(images, views)
        loaded.append(load_features(block.store, block.output, block.reduction, stored, streams, reporter))
    return loaded[0] if len(loaded) == 1 else Joined(tuple(loaded))
