"""What a head costs: the features of an image, as the records of its store say, and its fit. The Pareto front is pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fit.choices import WHOLE
from fit.head_folder import Results
from fit.head_info import Block, HeadInfo
from store.errors import StillframeError
from store.files.names import file_path
from store.information import find_computed_by, seconds_per_image
from store.reader import FeatureStore, open_store
from store.recipe import Output

NO_STORE = "its store is no longer where it was, so the seconds and bytes per image are not known"
NO_SECONDS = "how long its store took is not noted: it is of an earlier version, or was filled together with others"


@dataclass(frozen=True)
class Costs:
    """What a head and its features cost.

    Attributes:
        seconds_per_image: from file to stored features, by the clock, without loading the network; None if not known.
        bytes_per_image: of its output in the store, compressed; None if not known.
        fit_seconds: of the fit, without cross-validation.
        computed_by: what the features were computed with, as text.
        shared_by: how many outputs the store has, which were computed together.
        unknown: why something is not known; empty if all is.
    """

    seconds_per_image: float | None
    bytes_per_image: float | None
    fit_seconds: float
    computed_by: tuple[str, ...] = field(default=())
    shared_by: int = 1
    unknown: str = ""


def measure_costs(head: Results) -> Costs:
    """What the records of the head's stores say, if they are still where they were, and metrics.json."""
    fit_seconds, blocks = float(head.metrics["seconds"]), head.info.blocks
    stores = [_find_store(block) for block in blocks]
    known = [store for store in stores if store is not None]
    if len(known) < len(blocks):
        return Costs(None, None, fit_seconds, unknown=NO_STORE)
    once = list({store.fingerprint: store for store in known}.values())  # its outputs are computed together
    seconds = [seconds_per_image(list(store.snapshot.records.values())) for store in once]
    sizes = [_bytes_per_image(store, block.output) for store, block in zip(known, blocks, strict=True)]
    used = [used for store in once for used in find_computed_by(list(store.snapshot.records.values()), store.recipe)]
    return Costs(
        seconds_per_image=_sum(seconds),
        bytes_per_image=_sum(sizes),
        fit_seconds=fit_seconds,
        computed_by=tuple(dict.fromkeys(one.sentence for one in used)),
        shared_by=max(len(store.outputs) for store in once),
        unknown="" if _sum(seconds) is not None else NO_SECONDS,
    )


def _find_store(block: Block) -> FeatureStore | None:
    """The store of a block's features, if it is still where it was."""
    try:
        store = open_store(file_path(block.store)) if block.store else None
    except StillframeError:
        return None
    there = store is not None and store.fingerprint == block.recipe.fingerprint
    return store if there and store is not None and block.output in store.outputs.values() else None


def _sum(values: Sequence[float | None]) -> float | None:
    """The sum; None if a value is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _bytes_per_image(store: FeatureStore, output: Output) -> float | None:
    """Bytes of the shards per image; of several outputs, the output's part of the uncompressed bytes."""
    records = store.snapshot.records.values()
    images = sum(len(record.rows) for record in records)
    if not images:
        return None
    part = output.row_bytes / sum(other.row_bytes for other in store.outputs.values())
    return part * sum(record.shard_bytes for record in records) / images


def describe_features(info: HeadInfo) -> dict[str, str]:
    """What determines the features that a head takes, by what it is in words; of several blocks, joined by ` + `."""
    blocks = [_describe_block(block) for block in info.blocks]
    return {name: " + ".join(dict.fromkeys(block[name] for block in blocks)) for name in blocks[0]}


def _describe_block(block: Block) -> dict[str, str]:
    recipe, output = block.recipe, block.output
    return {
        "backbone": recipe.backbone,
        "weights": block.weights.rpartition("/")[2],
        "layer": output.layer,
        "pooling": block.reduction if output.spatial and block.reduction != WHOLE else output.pooling,
        "image size": "x".join(map(str, recipe.image_size)),
        "crop": recipe.crop,
        "dtype": output.dtype,
        "precision": recipe.precision,
    }


def differing(features: Sequence[Mapping[str, str]]) -> list[str]:
    """The names of what is not the same for all; weights only where a backbone has several."""
    names = [name for name in features[0] if len({found[name] for found in features}) > 1]
    weights = {(found["backbone"], found["weights"]) for found in features}
    usual = len(weights) == len({backbone for backbone, _ in weights})
    return [name for name in names if not (usual and name == "weights")]


def pareto_front(costs: Sequence[float | None], accuracies: Sequence[float | None]) -> tuple[int, ...]:
    """The positions of the points that no other one equals or beats in both and beats in one, by rising cost.

    Points of which something is not known are not on it.
    """
    known = [
        (cost, -accuracy, at)
        for at, (cost, accuracy) in enumerate(zip(costs, accuracies, strict=True))
        if cost is not None and accuracy is not None
    ]
    front, best = list[tuple[float, float, int]](), float("inf")
    for point in sorted(known):
        equal = bool(front) and point[:2] == front[-1][:2]
        if point[1] < best or equal:
            front.append(point)
            best = point[1]
    return tuple(at for _, _, at in front)


def cost_notes(costs: Iterable[Costs]) -> list[str]:
    """Where the costs come from, and which are not known, a sentence each."""
    costs = list(costs)
    known = [cost for cost in costs if cost.seconds_per_image is not None]
    notes = []
    if known:
        machines = list(dict.fromkeys(used for cost in known for used in cost.computed_by))
        notes.append(
            "seconds per image are those of the extraction, from file to stored features, as the stores' commit records "
            f"note them ({'; '.join(machines)}): by the clock, so that a machine with other work takes longer"
        )
        if len(machines) > 1:
            notes.append("the stores were computed in different ways or on different machines: seconds compare roughly")
    if any(cost.shared_by > 1 for cost in costs):
        notes.append("a store with several layers computes all of them at once: its seconds are those of all")
    return notes + [
        f"for {count} of {len(costs)} heads: {reason}"
        for reason in dict.fromkeys(cost.unknown for cost in costs if cost.unknown)
        if (count := sum(cost.unknown == reason for cost in costs))
    ]
