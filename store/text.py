"""What `store` prints for people: values -> lines and rows of cells."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from store.command_line import format_count, format_shape, format_size
from store.files.names import printable

if TYPE_CHECKING:
    from store.information import StoreDescription
    from store.maintenance import Collected, Repair, Verification
    from store.recipe import Augmentation, Recipe


def format_store(description: "StoreDescription") -> list[list[str]]:
    """A row per fact about a store."""
    recipe, counts = description.recipe, description.counts
    rows = [
        [
            "images",
            f"{counts.images:,}: {format_rows(counts.rows, recipe.views)}, {format_count(counts.failures, 'failure')}, "
            f"{counts.pending:,} not done yet",
        ],
        ["labels", description.labels.sentence],
        ["from", printable(description.data)],
        [
            "shards",
            f"{description.shards:,} {description.shard_format}, compression {description.compression}, "
            f"{format_size(description.shard_bytes)}",
        ],
    ]
    rows += [
        [
            f"output {output.name}",
            f"{format_shape(output.shape)} {output.dtype}, layer {output.layer}, pooling {output.pooling}",
        ]
        for output in description.outputs
    ]
    rows.append(["backbone", f"{recipe.backbone}, weights {recipe.weights[:12]}…"])
    rows += [
        ["computed by", f"{used.sentence}: {format_count(used.shards, 'shard')}"] for used in description.computed_by
    ]
    if recipe.quantization:
        rows.append(["int8", recipe.quantization.sentence])
        rows += [[f"int8 {agreement.output}", agreement.sentence] for agreement in description.agreements]
    if recipe.augment:
        rows.append(["views", _format_augmentation(recipe.augment)])
    rows.append(
        [
            "pixels",
            f"{format_shape(recipe.image_size)}, {_format_crop(recipe)}, {recipe.resize}, on {recipe.background}",
        ]
    )
    if recipe.preprocessing:
        rows.append(["input", recipe.preprocessing.sentence])
    rows.append(["fingerprint", description.fingerprint])
    return rows


def _format_crop(recipe: "Recipe") -> str:
    """How an image is fitted to its size, as in `center of an image whose shortest edge is 256`."""
    if not recipe.resize_to:
        return recipe.crop
    if len(recipe.resize_to) == 1:
        return f"center of an image whose shortest edge is {recipe.resize_to[0]}"
    return f"center of an image of {format_shape(recipe.resize_to)}"


def _format_augmentation(augmentation: "Augmentation") -> str:
    settings = asdict(augmentation)
    altered = settings.pop("views")
    return f"1 unaltered, {altered:,} altered: " + ", ".join(f"{name} {value}" for name, value in settings.items())


def format_rows(rows: int, views: int) -> str:
    """A number of rows; with several views, by how many each image has."""
    return format_count(rows, "row") if views == 1 else f"{format_count(rows, 'row')} / {views} views"


def format_verification(found: "Verification") -> str:
    """One line: whether the store is sound, and how its numbers add up."""
    return (
        f"{'sound' if found.sound else 'damaged'}: {found.images:,} images = {format_rows(found.rows, found.views)} + "
        f"{format_count(found.failures, 'failure')} + {found.pending:,} not done yet, in {format_count(found.shards, 'shard')}"
    )


def format_repair(repair: "Repair") -> list[str]:
    """What was rebuilt and withdrawn, a line each, and what to do next."""
    lines = [f"rebuilt: {printable(sentence)}" for sentence in repair.rebuilt]
    lines += [f"withdrawn: {printable(damage.message)}" for damage in repair.withdrawn]
    if not lines:
        return [] if repair.lost else ["nothing is damaged"]
    what = "compute them" if repair.withdrawn else "bring the store up to date"
    return [*lines, f"run the same `extract run` again to {what}"]


def format_collected(collected: "Collected", dry_run: bool) -> str:
    """One line: what `gc` deleted, or would delete."""
    verb = "would delete" if dry_run else "deleted"
    return f"{verb} {format_count(len(collected.names), 'file')}, {format_size(collected.size)}"
