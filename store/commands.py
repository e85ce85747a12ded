"""The commands of `store`: parse, call, print."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from store.command_line import Console, command, format_count, new_app
from store.errors import DamagedStore, StoppedEarly
from store.files.names import printable
from store.options import Argument, Option
from store.suggestions import suggest
from store.tables import facts
from store.text import format_collected, format_repair, format_store, format_verification

app = new_app("Look into a store, check it, repair it, export it.")


@dataclass(frozen=True)
class StorePlace:
    """The argument that names a store."""

    store: Annotated[str, Argument("STORE", "The store's folder, or its URL (s3://, gs://, az://).")]


@dataclass(frozen=True)
class InfoOptions:
    """Options of `store info`."""

    as_config: Annotated[
        bool, Option("Print the --config file with which `extract run` makes such a store.", ("--config",))
    ] = False


@command(app, "info", StorePlace, InfoOptions)
def info(place: StorePlace, options: InfoOptions, console: Console) -> None:
    """Show what a store holds and how it was made."""
    from store.config_file import write_config
    from store.information import describe_store, run_options
    from store.reader import open_store

    features = open_store(place.store)
    if options.as_config:
        made_by = run_options(features)
        console.result({"config": made_by})
        console.output(write_config(made_by, "extract run"))
        return
    description = describe_store(features)
    console.result(description.to_dict())
    console.output(*facts(format_store(description)))


@command(app, "verify", StorePlace)
def verify(place: StorePlace, console: Console) -> None:
    """Read everything back and check it. Exit code 4: damaged; 75: sound but not finished."""
    from store.files.opening import open_files
    from store.maintenance import verify as verify_store

    found = verify_store(open_files(place.store), console.reporter)
    console.result({**asdict(found), "sound": found.sound})
    for damage in found.damage:
        console.report(f"damaged: {printable(damage.message)}")
    console.report(format_verification(found))
    if not found.sound:
        raise DamagedStore(
            f"{format_count(len(found.damage), 'thing')} in {place.store} damaged: run {suggest('store', 'repair', place.store)}, "
            "then the same `extract run` again"
        )
    if found.pending:
        raise StoppedEarly(f"{place.store} is sound but not finished: run the same `extract run` again")


@command(app, "repair", StorePlace)
def repair(place: StorePlace, console: Console) -> None:
    """Rebuild damaged small files and withdraw damaged shards, so that the next `extract run` computes them again."""
    from store.files.opening import open_files
    from store.maintenance import repair as repair_store

    with console.reporter.step("looking for damage", None):
        done = repair_store(open_files(place.store))
    console.result({"rebuilt": list(done.rebuilt), "withdrawn": [asdict(damage) for damage in done.withdrawn]})
    console.report(*format_repair(done))
    if done.lost:
        raise DamagedStore("; ".join(printable(damage.message) for damage in done.lost))


@dataclass(frozen=True)
class GarbageOptions:
    """Options of `store gc`."""

    min_age: Annotated[float, Option("Seconds; younger files stay, because a run may still need them.")] = 3600.0
    dry_run: Annotated[bool, Option("Say what would be deleted, delete nothing.")] = False


@command(app, "gc", StorePlace, GarbageOptions)
def gc(place: StorePlace, options: GarbageOptions, console: Console) -> None:
    """Delete what the current view does not need: left-over temporary files, replaced shards, older plans."""
    from store.files.opening import open_files
    from store.maintenance import collect_garbage

    with console.reporter.step("looking for files that nothing needs", None):
        collected = collect_garbage(open_files(place.store), options.min_age, options.dry_run)
    console.result({"files": list(collected.names), "bytes": collected.size})
    console.report(format_collected(collected, options.dry_run))


@command(app, "failures", StorePlace)
def failures(place: StorePlace, console: Console) -> None:
    """List the images that gave no row, and why: path, code, message, separated by tabs."""
    from store.reader import open_store

    found = open_store(place.store).snapshot.failures().select(["path", "code", "message"]).to_pylist()
    console.result({"failures": found})
    console.listing([[printable(text) for text in failure.values()] for failure in found], separator="\t")


@dataclass(frozen=True)
class ExportOptions:
    """Options of `store export`."""

    to: Annotated[str, Option("npy, npz, csv, parquet or tfrecord.")]
    out: Annotated[Path, Option("The file to write.", ("--out", "-o"))]
    output: Annotated[str | None, Option("Which output, where the store has several.")] = None
    split: Annotated[str | None, Option("Only rows of this split.")] = None
    force: Annotated[bool, Option("Replace existing files.")] = False


@command(app, "export", StorePlace, ExportOptions)
def export(place: StorePlace, options: ExportOptions, console: Console) -> None:
    """Write rows and features to a file that other tools read."""
    from store.export import export as export_store
    from store.reader import open_store

    features = open_store(place.store)
    if not features.complete:
        console.message(
            f"warning: {place.store} is not finished, only the {len(features):,} rows it has so far are written"
        )
    with console.reporter.step(f"writing {printable(str(options.out))}", None):
        written = export_store(features, options.to, options.out, options.output, options.split, options.force)
    console.result({"files": [str(path) for path in written]})
    console.report(f"wrote {', '.join(map(str, written))}")
