"""What `extract` prints for people: values -> lines and rows of cells."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from extract.backbones.published import PublishedNetwork
from extract.backbones.table import PREPROCESSING, Backbone
from store.command_line import format_count, format_duration, format_shape, format_size
from store.files.names import printable
from store.suggestions import suggest
from store.tables import terminal_width

if TYPE_CHECKING:
    from extract.classify import Classified
    from extract.doctor import Check
    from extract.dry_run import DryRun
    from extract.summary import RunResult


def format_run(result: "RunResult") -> list[str]:
    """The result of a run, in a few lines."""
    images, rows = format_count(result.images, "image"), format_count(result.rows, "row")
    lines = [
        f"{images} in, {rows}, {format_count(result.failures, 'failure')} in {result.store}{_format_changes(result)}"
    ]
    if result.pending:
        lines.append(
            f"{format_count(result.pending, 'image')} left for other parts; "
            f"{suggest('store', 'verify', result.store)} says when all are stored"
        )
    if result.failures:
        codes = ", ".join(f"{count:,} {code}" for code, count in sorted(result.failures_by_code.items()))
        listing = suggest("store", "failures", result.store)
        lines.append(f"failures: {codes}; {listing} lists them")
        if "needs_extra" in result.failures_by_code:
            lines.append(f"photos that need an extra: install what {listing} says, then run again with --retry-failed")
    if result.left_out:
        lines.append(result.left_out)
    if result.copied:
        lines.append(_format_copied(result.copied))
    if not result.computed:
        return [*lines, "nothing to compute"]
    waits = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.phases.items())
    rate = f"computed {result.computed:,} in {result.seconds:.1f} s, {result.images_per_second:.1f} images/s"
    lines += [f"{rate}; seconds waited for: {waits}"]
    lines += [f"computed by {used.sentence}" for used in result.computed_by]
    return [*lines, result.bottleneck]


def _format_copied(copied: int) -> str:
    if copied == 1:
        return "1 image is known under another name: its features are copied"
    return f"{copied:,} images are known under another name: their features are copied"


def _format_changes(result: "RunResult") -> str:
    changes = result.changes
    counts = (("new", changes.new), ("changed", changes.changed), ("gone", changes.gone))
    shown = [f"{count:,} {what}" for what, count in counts if count]
    return f" ({', '.join(shown)})" if shown else ""


def format_dry_run(plan: "DryRun") -> list[str]:
    """A dry run's estimate in a few lines."""
    outputs = ", ".join(f"{output.name} {format_shape(output.shape)} {output.dtype}" for output in plan.outputs)
    copies = f" and {plan.to_copy:,} renamed ones to copy" if plan.to_copy else ""
    lines = [
        f"{plan.images:,} images, {plan.to_compute:,} to compute{copies} in {format_count(plan.shards, 'shard')}; "
        "nothing was written",
        f"each row: {outputs} in {plan.shard_format}; {format_size(plan.feature_bytes)} before compression",
    ]
    estimate = plan.estimate
    if estimate.images:
        lines += [
            f"computed {format_count(estimate.images, 'image')} as a sample: {estimate.images_per_second:.1f} images/s, "
            f"{format_duration(estimate.seconds)} for all",
            f"about {format_size(estimate.disk_bytes)} on disk and {format_size(estimate.peak_memory_bytes)} of memory "
            "at its peak",
            estimate.bottleneck,
        ]
    return lines


def format_backbones(weights: Mapping[Backbone, Path | None]) -> list[list[str]]:
    """A row per network; `weights` says where its ImageNet weights are on this machine."""
    rows = [["name", "input", "parameters", "output", "weights", "pixels"]]
    rows += [
        [
            backbone.name,
            format_shape(backbone.size),
            f"{backbone.parameters:,}",
            format_shape(backbone.shape),
            _format_weights(backbone, path),
            backbone.preprocessing,
        ]
        for backbone, path in weights.items()
    ]
    return rows


def format_preprocessing() -> list[list[str]]:
    """The legend of `format_backbones`: its columns weights and pixels."""
    rows = [["weights", "whether the ImageNet weights are on this machine"]]
    return rows + [[name, f"pixels: {meaning}"] for name, meaning in PREPROCESSING.items()]


def format_published(networks: Sequence[PublishedNetwork]) -> list[list[str]]:
    """A row per network that is published as a folder; what its license does not allow stands out."""
    rows = [["published as folders", "output", "license"]]
    for network in networks:
        terms = f": {network.terms.upper()}" if network.terms else ""
        rows.append([network.name, str(network.channels), f"{network.license}{terms}"])
    return rows


def _format_weights(backbone: Backbone, path: Path | None) -> str:
    if backbone.weights_from == "nowhere":
        return "none needed"
    if backbone.weights_from == "file":
        return "give a file"
    return "yes" if path else "no"


def format_classified(images: "Sequence[Classified]") -> list[list[str]]:
    """A row per image: its most probable classes, or what was wrong with it."""
    return [[printable(image.path), _format_guesses(image)] for image in images]


def _format_guesses(image: "Classified") -> str:
    if image.error is not None:
        return f"error: {printable(image.error)}"
    return "  ".join(f"{guess.name} {guess.probability:.3f}" for guess in image.classes)


def format_checks(checks: "Sequence[Check]") -> Iterator[str]:
    """The lines of a check-up: status, name, what was found, and below it what to do."""
    width = max(len(check.name) for check in checks if not check.names_path)
    indent = " " * (width + 8)
    wrapper = textwrap.TextWrapper(terminal_width(), subsequent_indent=indent, break_on_hyphens=False)
    for check in checks:
        wrapper.initial_indent = f"{check.status}  {check.name.ljust(width)}  "
        if len(wrapper.initial_indent) > len(indent):
            yield wrapper.initial_indent.rstrip()
            wrapper.initial_indent = indent
        yield from wrapper.wrap(printable(check.found))
        if check.advice:
            wrapper.initial_indent = indent
            yield from wrapper.wrap(f"-> {check.advice}")
