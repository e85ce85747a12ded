"""Exporting a head: assemble, write beside, run what was written, compare, and describe.

Pixels are (batch, height, width, 3), already resized by the recipe, which is written beside the model as JSON with the
classes. What was written is run by its own runtime before it is called done, and must agree with `fit predict`.
"""

import contextlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from extract.api import ONNX, Reporter, quiet_libraries
from fit.arrays import Pixels
from fit.block_extractor import BlockExtractor, WeightsPlace, networks, pixel_inputs, place_weights
from fit.export.base import (
    FittedHead,
    Target,
    description_place,
    input_names,
    require_export_place,
    require_runnable,
)
from fit.export.composed import composed_writer
from fit.export.targets import TARGETS, find_target
from fit.export.whole_model import exported_model
from fit.head_info import Block
from fit.task import Probabilities
from store.errors import EnvironmentFailure, StillframeError, UsageError, reason_of, shortage
from store.files.disk import reason_of_the_system

CHECKED_IMAGES = 20
TOLERANCE = 1e-3
"""The largest difference in probability that counts as agreement; of a regression, the part of the largest number."""

_PROBABILITIES, _NUMBER = "probability of each class, in the order of classes", "the predicted number"
"""What a model gives, in its description."""


def export_head(
    head: FittedHead, out: Path, to: str, weights: WeightsPlace = None, force: bool = False, debug: bool = False
) -> float:
    """Write a head and its backbone as one model, check it, and put recipe and classes beside it.

    Args:
        head: a Keras head, or a linear scikit-learn one.
        out: the file to write; a folder for saved_model.
        to: a name of TARGETS.
        weights: where the backbone's weights are now, if elsewhere; of several recipes, a place for each.
        force: replace what is there.
        debug: show the converters' own messages.

    Returns:
        The largest difference in probability to `fit predict` on 20 sample images.

    Raises:
        UsageError: the head, the backbone or the format is not available, or the result differs.
        EnvironmentFailure: the model cannot be written there.
    """
    target = find_target(to)
    if head.info.quantized:
        raise UsageError(
            f"the features of {head.info.backbone} are computed in 8 bits, and exports compute in float32: the head "
            "would get other features; use `fit predict`, or fit it on features of --precision float32"
        )
    require_runnable(target)
    require_export_place(target, out, force)
    with quiet_libraries(debug):
        write = _writer(head, target, weights)
    blocks = head.info.blocks
    pixels = [sample_pixels(blocks[group[0]].recipe.image_size) for group in pixel_inputs(blocks)]
    expected = _float32_probabilities(head, pixels, weights, debug)
    with _written_beside(out) as temporary:
        with _named_failures(head, to, out), quiet_libraries(debug), _silent_output(debug):
            write(temporary)
            found = target.run(temporary, *pixels)
        difference = float(np.abs(found - expected).max())
        allowed = TOLERANCE * (float(np.abs(expected).max()) if head.info.task.regression else 1.0)
        if not difference <= allowed:
            raise UsageError(
                f"the {to} export of {head.info.backbone} differs from `fit predict` by {difference:.2g}, more than "
                f"{allowed:g}: it was deleted; choose another of {', '.join(TARGETS)}"
            )
        _write_description(head, description_place(temporary))
    return difference


def _writer(head: FittedHead, target: Target, weights: WeightsPlace) -> Callable[[Path], None]:
    """What writes a head and its backbone as one model to a path, looked up and loaded already.

    Raises:
        UsageError: the head, or the backbone, cannot be written so.
    """
    if any(block.recipe.backbone == ONNX for block in head.info.blocks):
        if len(head.info.blocks) > 1:
            raise UsageError(
                f"the head joins the features of {head.info.backbone}, and one model of an ONNX file and other networks "
                "cannot be written: use `fit predict`"
            )
        return composed_writer(head, target, weights)
    model = exported_model(head, weights)
    return lambda path: target.write(model, path)


def _float32_probabilities(
    head: FittedHead, pixels: Sequence[Pixels], weights: WeightsPlace, debug: bool
) -> Probabilities:
    """What `fit predict` gives, in float32 as exports compute, whatever the recipes' precision."""
    blocks = place_weights(head.info.blocks, weights)
    exact = tuple(replace(block, recipe=replace(block.recipe, precision="float32")) for block in blocks)
    if exact == blocks:
        return head.predict_pixels(*pixels, weights=weights, reporter=Reporter(debug=debug))
    return head.predict_features(*BlockExtractor(exact, Reporter(debug=debug)).extract_pixels(pixels))


def sample_pixels(size: tuple[int, int]) -> Pixels:
    """The images that an export is checked on: crops of scikit-learn's two photographs, and noise.

    Args:
        size: (height, width) in pixels.

    Returns:
        (20, height, width, 3), the same ones at every call.
    """
    rng = np.random.default_rng(0)
    height, width = size
    images = []
    for number in range(CHECKED_IMAGES - 2):
        photo = Image.fromarray(load_sample_images().images[number % 2])
        side = int(rng.integers(100, 400))
        left, top = (int(rng.integers(0, limit - side)) for limit in photo.size)
        images.append(np.asarray(photo.crop((left, top, left + side, top + side)).resize((width, height))))
    noise = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    return np.concatenate([np.stack(images), noise])


@contextlib.contextmanager
def _named_failures(head: FittedHead, to: str, out: Path) -> Iterator[None]:
    """Turn what converters and runtimes raise inside the block into a UsageError that says what cannot be exported.

    A full disk and a shortage of memory are the environment's fault instead.
    """
    try:
        yield
    except StillframeError:
        raise
    except Exception as error:
        if (reason := reason_of_the_system(error)) is not None:
            raise _unwritable(out, reason) from error
        raise shortage(error) or UsageError(
            f"{head.info.backbone} with the head {head.info.head} cannot be exported to {to} "
            f"({type(error).__name__}: {reason_of(error)}): choose another of {', '.join(TARGETS)}"
        ) from error


def _unwritable(out: Path, reason: str) -> EnvironmentFailure:
    return EnvironmentFailure(f"cannot write {out}: {reason}; fix that, then export again")


@contextlib.contextmanager
def _written_beside(out: Path) -> Iterator[Path]:
    """A path in a new folder beside `out`. What was written there is moved to `out` at the end, unless the block raised."""
    folder = out.parent / f".{out.name}.{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True)
        yield folder / out.name
        for name in sorted(os.listdir(folder)):  # the model, its description, and of OpenVINO its weights
            final = out.parent / name
            if final.is_dir():
                shutil.rmtree(final)
            (folder / name).replace(final)
    except OSError as error:
        if isinstance(error, StillframeError):
            raise
        raise _unwritable(out, error.strerror or str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _silent_output(debug: bool) -> Iterator[None]:
    """Keep what converters print off standard output inside the block, unless `debug`: results alone belong there."""
    with contextlib.nullcontext() if debug else contextlib.redirect_stdout(io.StringIO()):
        yield


def _write_description(head: FittedHead, path: Path) -> None:
    """Write what a user needs to run the model without Stillframe."""
    info = head.info
    described = {
        "classes": list(info.classes),
        **_described_inputs(info.blocks),
        "output": _NUMBER if info.task.regression else _PROBABILITIES,
        "fingerprint": info.fingerprint,
        **({"recipe": info.blocks[0].recipe.to_dict()} if len(info.blocks) == 1 else {}),
        "head": info.head,
    }
    if decision := head.info.decision.to_dict():
        described["decision"] = decision
    path.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _described_inputs(blocks: Sequence[Block]) -> dict[str, object]:
    """What the model takes: an input of pixels, or of several recipes the name of each input and whose pixels it is."""
    what = "uint8 pixels, batch x height x width x 3, RGB, decoded and resized by the recipe"
    if len(blocks) == 1:
        return {"input": what}
    groups = pixel_inputs(blocks)
    return {
        "input": f"{what}; the same images in each input, in the same order",
        "inputs": [
            {"name": name, "recipes": [blocks[members[0]].recipe.to_dict() for members in networks(blocks, group)]}
            for name, group in zip(input_names(len(groups)), groups, strict=True)
        ],
    }
