"""The images of a head that a notebook shows: those that it predicts worst."""

import numpy as np

from fit.evaluated import evaluated_numbers, evaluated_rows
from fit.head_folder import Results
from fit.numeric_labels import number_text
from fit.page.sources import EVALUATIONS, NoImages, evenly_spread, find_images_of, most_confident_errors
from fit.page.thumbnails import ThumbnailRequest, make_thumbnails
from store.errors import StillframeError
from store.files.names import is_url
from store.notebook import Picture, Pictures

_MOST = 12


def head_pictures(results: Results) -> Pictures | None:
    """A few of the images that a head is reported by; None if they are no longer on this machine's disks."""
    if is_url(results.info.data):  # a notebook that shows a head downloads nothing
        return None
    try:
        root = find_images_of(results, None)
        title, captions = _worst_numbers(results) if results.info.task.regression else _worst_classes(results)
        asked = ThumbnailRequest(list(captions), {}, results.info.blocks[0].recipe.background)
        thumbnails = make_thumbnails(root, asked)
    except (NoImages, StillframeError):  # a notebook shows the numbers all the same
        return None
    pictures = [
        Picture(f"data:{thumbnails.kind};base64,{thumbnails.encoded[path]}", path, caption)
        for path, caption in captions.items()
        if path in thumbnails.encoded
    ]
    return Pictures(title, pictures)


def _worst_classes(results: Results) -> tuple[str, dict[str, str]]:
    """The most confident errors, or where there is none some that are right: a title, and a caption by path."""
    name = results.metrics["confusion_of"]
    found = evaluated_rows(results, name)
    of = f"{len(found):,} {EVALUATIONS[name]}"
    errors = most_confident_errors(found)
    if not errors:
        shown = set(evenly_spread(found.paths, _MOST))
        right = {path: label for path, label in zip(found.paths, found.labels, strict=True) if path in shown}
        return f"all {of} are predicted correctly", right
    predicted = found.predicted
    captions = {found.paths[row]: f"{found.labels[row]}, predicted {predicted[row]}" for row in errors[:_MOST]}
    return f"most confident errors of {of}", captions


def _worst_numbers(results: Results) -> tuple[str, dict[str, str]]:
    """The largest errors: a title, and a caption by path."""
    name = results.metrics["reported"]
    found = evaluated_numbers(results, name)
    order = np.argsort(-np.abs(found.targets - found.predicted), kind="stable")[:_MOST].tolist()
    captions = {
        found.paths[row]: f"{number_text(found.targets[row])}, predicted {found.predicted[row]:.4g}" for row in order
    }
    return f"largest errors of {len(found):,} {EVALUATIONS[name]}", captions
