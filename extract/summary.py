"""The result of a run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from extract.bottleneck import ResourceUse, cluster_bottleneck, find_bottleneck, longest_phase
from extract.monitor import Clock
from extract.planning import Changes, PlannedRun, part_of
from extract.resolve import Request
from extract.runtimes.backend import backend_name
from extract.runtimes.base import Runtime
from extract.runtimes.device import backend_device, machine_has_gpu, processor_precisions, usable_cores
from extract.sources.base import describe_left_out
from store.errors import EnvironmentFailure, StoppedEarly, require_few_failed
from store.information import ComputedBy, find_computed_by
from store.notebook import notebook_table
from store.snapshot import Snapshot, with_records
from store.suggestions import suggest

_JSON_KEYS = (
    "store",
    "fingerprint",
    "images",
    "rows",
    "failures",
    "pending",
    "computed",
    "reused",
    "copied",
    "seconds",
    "images_per_second",
    "phases",
    "limited_by",
    "computed_by",
)


@dataclass(frozen=True)
class RunCounts:
    """How many images a run computed and how many it copied, beside its clock and its network.

    `runtime` is None on a cluster, and where no image had to be computed.
    """

    images: int
    copied: int
    clock: Clock
    runtime: Runtime | None


@dataclass(frozen=True)
class RunResult:
    """The result of a run. `images` = `rows` / views + `failures` + `pending`.

    Attributes:
        store: its folder or URL.
        fingerprint: of the store's recipe.
        images: in the current plan.
        rows: stored.
        failures: images that gave no row.
        pending: images that are left for other parts.
        computed: images of this run, failures included.
        reused: images whose features were there before.
        copied: those of them that have a new name, so that their features were copied.
        seconds: from the first read to the last commit.
        images_per_second: computed in that time.
        phases: seconds that the run waited for each phase.
        limited_by: the phase that it waited for longest.
        bottleneck: what limited the run and what would make it faster, in a sentence.
        computed_by: what the plan's own shards were computed with; empty if nothing was computed.
        changes: how the listing differed from the store.
        failures_by_code: how many failures have each code.
        left_out: files in the folder that are not images, by their endings, in a sentence; empty if there are none.
    """

    store: str
    fingerprint: str
    images: int
    rows: int
    failures: int
    pending: int
    computed: int
    reused: int
    copied: int
    seconds: float
    images_per_second: float
    phases: Mapping[str, float]
    limited_by: str
    bottleneck: str
    computed_by: tuple[ComputedBy, ...]
    changes: Changes
    failures_by_code: Mapping[str, int]
    left_out: str

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        facts = {
            "images": f"{self.images:,}",
            "rows": f"{self.rows:,}",
            "failures": f"{self.failures:,}",
            "computed": f"{self.computed:,} in {self.seconds:,.1f} s, {self.images_per_second:,.1f} images/s",
            "limited by": self.bottleneck,
        }
        return notebook_table(f"Run into {self.store}", {name: value for name, value in facts.items() if value})

    def to_dict(self) -> dict[str, object]:
        """The keys of `extract run --json`."""
        return {name: value for name, value in asdict(self).items() if name in _JSON_KEYS}


def summarize(request: Request, planned: PlannedRun, computed: RunCounts) -> RunResult:
    """What the store holds of the run's plan now, and how long computing took.

    Raises:
        EnvironmentFailure: what the run has committed is no longer there.
        StoppedEarly: `store repair` has withdrawn some of it.
    """
    worked = bool(part_of(planned.snapshot, request.part))  # also if all that it committed is withdrawn
    snapshot = with_records(request.store, planned.snapshot) if worked else planned.snapshot
    if worked:
        _require_still_there(request, snapshot)
    counts = snapshot.counts()
    phases, seconds = computed.clock.phases(), computed.clock.span
    return RunResult(
        store=str(request.store),
        fingerprint=snapshot.info.recipe.fingerprint,
        images=counts.images,
        rows=counts.rows,
        failures=counts.failures,
        pending=counts.pending,
        computed=computed.images,
        reused=counts.images - counts.pending - computed.images,
        copied=computed.copied,
        seconds=round(seconds, 3),
        images_per_second=round(computed.images / seconds, 3) if seconds else 0.0,
        phases={name: round(value, 3) for name, value in phases.items()},
        limited_by=longest_phase(phases),
        bottleneck=_bottleneck(request, computed) if computed.images else "",
        computed_by=_computed_by(snapshot) if computed.images else (),
        changes=planned.changes,
        failures_by_code=Counter(snapshot.failures()["code"].to_pylist()),
        left_out=describe_left_out(planned.listing.left_out),
    )


def _require_still_there(request: Request, snapshot: Snapshot) -> None:
    """Raise an error if the store, or a shard that this run has committed, was deleted or withdrawn meanwhile."""
    # The machine of a cluster's client may see what workers wrote only later (NFS, acdirmax).
    lost = set(part_of(snapshot, request.part) if request.options.scheduler is None else [])
    there = request.store.is_store()
    if there and lost and lost <= set(snapshot.withdrawn_shards()):
        raise StoppedEarly(
            f"`store repair` withdrew shards of {request.store} while this run was writing them ({len(lost):,}): "
            "run the same command again to compute them"
        )
    if lost or not there:
        raise EnvironmentFailure(
            f"{request.store} was deleted, in whole or in part, while this run was writing to it: "
            "make sure that nothing else does that, then run the same command again"
        )


def _computed_by(snapshot: Snapshot) -> tuple[ComputedBy, ...]:
    name = snapshot.plan.name if snapshot.plan else ""
    own = [record for record in snapshot.records.values() if record.plan == name]
    return find_computed_by(own, snapshot.info.recipe)


def _bottleneck(request: Request, computed: RunCounts) -> str:
    if request.options.scheduler is not None:
        return cluster_bottleneck(computed.clock.phases())
    return find_bottleneck(resource_use(request, computed.clock, computed.runtime)) if computed.runtime else ""


def resource_use(request: Request, clock: Clock, runtime: Runtime) -> ResourceUse:
    """What computing on this machine used, from its clock."""
    environment = runtime.environment
    return ResourceUse(
        seconds=clock.span,
        phases=clock.phases(),
        cores=usable_cores(),
        cores_used=clock.processor_seconds / clock.span,
        decoders=request.decoders,
        runtime=environment["runtime"],
        device=environment["device"],
        backend=environment["backend"],
        precision=request.network.precision,
        precisions=_precisions(environment["runtime"]),
        gpu_here=machine_has_gpu(),
        requested_device=request.network.device,
    )


def _precisions(runtime: str) -> tuple[str, ...]:
    """The precisions that a runtime computes in on its device, which it has started."""
    match runtime:
        case "keras":
            return backend_device(backend_name()).precisions
        case "onnxruntime":
            return ("float32",)
        case _:
            return processor_precisions()


def require_few_failures(result: RunResult, max_bad: float) -> None:
    """Raise TooManyFailures if more than that fraction of the images failed."""
    reasons = f"the others are stored; {suggest('store', 'failures', result.store)} lists them"
    require_few_failed(result.failures, result.images - result.pending, max_bad, reasons)
