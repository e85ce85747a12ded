"""The images that the pictures of a head show: its mistakes, and samples and averages of its classes."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from extract.api import BadImage, read_pixels
from fit.arrays import Pixels
from fit.evaluated import Evaluated
from fit.head_folder import Results
from fit.page.images import largest_classes
from fit.page.sources import NoImages, evenly_spread
from fit.report.images import Average, Mistake, Sample

SHOWN_MISTAKES = 24
SAMPLED_CLASSES, SAMPLED_IMAGES = 20, 8
AVERAGED_CLASSES, AVERAGED_IMAGES = 60, 300


def gather_samples(results: Results, root: str, members: Sequence[Sequence[str]]) -> tuple[list[Sample], str]:
    """Some images of each class, and a note on which they are.

    Args:
        results: the head's.
        root: the folder of its images.
        members: the paths of each class's images.

    Raises:
        NoImages: none of them can be read.
    """
    largest = largest_classes(members, SAMPLED_CLASSES)
    chosen = [evenly_spread(members[number], SAMPLED_IMAGES) for number in largest]
    samples = []
    for number, images in zip(largest, _read_groups(results, root, chosen), strict=True):
        readable = list(images)
        if readable:
            samples.append(Sample(results.info.classes[number], readable))
    _require_some(samples)
    return samples, f"images of each class, evenly by name{_note_on_classes(len(largest), len(members))}"


def gather_averages(results: Results, root: str, members: Sequence[Sequence[str]]) -> tuple[list[Average], str, str]:
    """The average image of each class, a note on which they are, and of which images, in words.

    Args:
        results: the head's.
        root: the folder of its images.
        members: the paths of each class's images.

    Raises:
        NoImages: none of them can be read.
    """
    largest = largest_classes(members, AVERAGED_CLASSES)
    chosen = [evenly_spread(members[number], AVERAGED_IMAGES) for number in largest]
    averages = []
    for number, images in zip(largest, _read_groups(results, root, chosen), strict=True):
        total, count = np.zeros((*results.info.blocks[0].recipe.image_size, 3)), 0
        for image in images:
            total, count = total + image, count + 1
        if count:
            averages.append(Average(results.info.classes[number], np.round(total / count).astype(np.uint8), count))
    _require_some(averages)
    capped = any(len(members[number]) > AVERAGED_IMAGES for number in largest)
    of = f"up to {AVERAGED_IMAGES} images of each class" if capped else "all images of each class"
    return averages, f"{of} (how many){_note_on_classes(len(largest), len(members))}", of


def gather_mistakes(results: Results, root: str, evaluated: Evaluated, rows: Sequence[int]) -> list[Mistake]:
    """The first SHOWN_MISTAKES of those rows whose images can be read.

    Args:
        results: the head's.
        root: the folder of its images.
        evaluated: its predictions.
        rows: those that are wrong, in the order in which they are shown.

    Raises:
        NoImages: none of them can be read.
    """
    mistakes = list[Mistake]()
    predicted, confidence = evaluated.predicted, evaluated.confidence
    for start in range(0, len(rows), SHOWN_MISTAKES):
        batch = rows[start : start + SHOWN_MISTAKES]
        images = read_pixels(root, [evaluated.paths[row] for row in batch], results.info.blocks[0].recipe)
        for row, image in zip(batch, images, strict=True):
            if not isinstance(image, BadImage):
                path, actual = evaluated.paths[row], evaluated.labels[row]
                mistakes.append(Mistake(path, image, actual, predicted[row] or "none", float(confidence[row])))
        if len(mistakes) >= SHOWN_MISTAKES:
            break
    _require_some(mistakes)
    return mistakes[:SHOWN_MISTAKES]


def _read_groups(results: Results, root: str, groups: Sequence[Sequence[str]]) -> Iterator[Iterator[Pixels]]:
    """For each group of paths its images that can be read; each group must be consumed before the next is asked for."""
    images = read_pixels(root, list(itertools.chain.from_iterable(groups)), results.info.blocks[0].recipe)
    for group in groups:
        yield (image for image in itertools.islice(images, len(group)) if not isinstance(image, BadImage))


def _note_on_classes(shown: int, classes: int) -> str:
    return "" if shown == classes else f"; the {shown} of {classes:,} classes with the most images"


def _require_some(found: Sequence[object]) -> None:
    if not found:
        raise NoImages("none of the images that it shows can be read")
