"""The ImageNet classes that a network sees in images, decoded and preprocessed as `extract run` does."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from extract.backbones.table import DEFAULT_BACKBONE, Backbone, get_backbone
from extract.backbones.weights import Weights, require_weights
from extract.choices import RUNTIMES
from extract.extractor import extract_files
from extract.images.decode import DecodePolicy, parse_color
from extract.request import DEFAULT_CROP, DEFAULT_RESIZE, MAX_PIXELS, RunOptions
from extract.runtimes.load import NetworkSpec, load_runtime
from extract.sources.listing import find_images
from extract.sources.named import NamedFiles
from store.errors import UsageError, require_few_failed
from store.progress import SILENT, Reporter
from store.recipe import Output
from store.suggestions import suggest

CLASSES = 1000
_NAMES_FILE = Path(__file__).with_name("imagenet_classes.txt")


@dataclass(frozen=True)
class ClassName:
    """One of ImageNet's classes: `id` is its WordNet id, such as n02124075, `name` as in Egyptian_cat."""

    id: str
    name: str


@dataclass(frozen=True)
class Guess:
    """A class and its probability."""

    id: str
    name: str
    probability: float


@dataclass(frozen=True)
class Classified:
    """One image: its most probable classes, the best first, or what was wrong with it."""

    path: str
    classes: tuple[Guess, ...]
    error: str | None = None


@cache
def class_names() -> tuple[ClassName, ...]:
    """ImageNet's 1,000 classes in the order of the networks' outputs."""
    lines = _NAMES_FILE.read_text(encoding="utf-8").splitlines()
    return tuple(ClassName(*line.split(" ")) for line in lines if not line.startswith("#"))


def classify(
    images: Sequence[str | os.PathLike[str]],
    backbone: str = DEFAULT_BACKBONE,
    weights: str = "imagenet",
    top: int = 5,
    *,
    runtime: str = "auto",
    reporter: Reporter = SILENT,
) -> list[Classified]:
    """The `top` most probable ImageNet classes of each image, at the network's own size and default preprocessing.

    Args:
        images: files, folders, tables, or glob patterns.
        backbone: the network's name.
        weights: imagenet, random[:SEED], or a file that holds the classifier too.
        top: 1 to 1,000.
        runtime: auto, keras or openvino.
        reporter: shows what is being done.

    Raises:
        UsageError: no such images, network, weights or runtime, `top` is out of range, or a network without classes.
        EnvironmentFailure: weights could not be downloaded, or an image cannot be read now.
    """
    if not 1 <= top <= CLASSES:
        raise UsageError(f"--top is {top}: expected 1 to {CLASSES:,}")
    if runtime not in RUNTIMES:
        raise UsageError(f"--runtime is {runtime!r}: expected one of {', '.join(RUNTIMES)}")
    known, chosen = _with_classes(backbone), Weights.parse(weights)
    require_weights(known, chosen)
    paths = find_images(images)
    reporter.message(f"loading {known.name}")
    network = NetworkSpec(known, chosen, known.size, (), "none", "float32", runtime=runtime, include_top=True)
    loaded, _ = load_runtime(network, reporter)
    output = Output("probabilities", "", "none", (CLASSES,), "float32")
    found: dict[str, Classified] = {}
    distinct = list(dict.fromkeys(paths))
    policy = _default_policy(known)
    for content in extract_files(distinct, NamedFiles(distinct), policy, loaded, (output,), reporter):
        rows = zip(content.shard.rows["path"].to_pylist(), content.shard.tensors[output.name], strict=True)
        found.update({path: Classified(path, best_guesses(values, top)) for path, values in rows})
        for failure in content.failures.to_pylist():
            found[failure["path"]] = Classified(failure["path"], (), f"{failure['code']}: {failure['message']}")
    return [found[path] for path in paths]


def _with_classes(name: str) -> Backbone:
    backbone = get_backbone(name)
    if backbone.weights_from == "nowhere":
        raise UsageError(
            f"{name} has no classes: choose another --backbone; {suggest('extract', 'backbones')} lists all"
        )
    return backbone


def _default_policy(backbone: Backbone) -> DecodePolicy:
    """How `extract run` makes pixels by default."""
    background = parse_color(RunOptions.background)
    return DecodePolicy(backbone.size, DEFAULT_RESIZE, DEFAULT_CROP, background, MAX_PIXELS)


def best_guesses(probabilities: npt.NDArray[Any], top: int) -> tuple[Guess, ...]:
    """The `top` most probable of (1000,) probabilities; of equal ones the earlier class comes first."""
    names = class_names()
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(Guess(names[at].id, names[at].name, float(probabilities[at])) for at in best)


def require_few_errors(classified: Sequence[Classified], max_bad: float) -> None:
    """Raise TooManyFailures if more than that fraction of the images could not be classified."""
    failed = sum(image.error is not None for image in classified)
    require_few_failed(failed, len(classified), max_bad, "each one's line says why")
