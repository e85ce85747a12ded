"""What can be done with a head that was fitted just now: commands that run as printed."""

import os
from collections.abc import Sequence
from pathlib import Path

from extract.api import ONNX, image_root
from fit.command_words import evaluate_test_words, load_words, store_words
from fit.experiment_record import TESTS, Choices
from fit.head import Head
from fit.heads.build import find_kind
from fit.heads.table import is_custom
from fit.looks import describe_looks, looks_beside, read_looks
from store.files.names import file_path, is_url
from store.suggestions import suggested_line


def next_steps(head: Head, folder: Path, stores: Sequence[str]) -> list[str]:
    """Commands for a head in its folder.

    Args:
        head: as it was fitted.
        folder: where it was saved.
        stores: where its features are, as the user named them.
    """
    name = head.info.head
    image = _an_image(head)
    images = store_words(stores) if image is None else [image]
    steps = [
        suggested_line("fit", "report", folder),
        suggested_line("fit", "predict", folder, *images, *load_words(name)),
    ]
    if _untested(head):
        steps.append(suggested_line(*evaluate_test_words(folder, name, stores, _choices(head))))
    if not is_custom(name) and not head.info.quantized and find_kind(name).exports:
        # Keras' own format needs no other package, but does not hold an ONNX model.
        to, file = ("openvino", "model.xml") if head.info.backbone == ONNX else ("keras", "model.keras")
        steps.append(suggested_line("fit", "export", folder, "--to", to, "--out", folder / file))
    return steps


def _choices(head: Head) -> Choices | None:
    return None if head.experiment is None else head.experiment.choices


def test_notes(head: Head, folder: Path) -> list[str]:
    """What is to be known about the test images: that they wait, or how often they were looked at."""
    record = head.experiment
    if _untested(head) and record is not None:
        return [
            f"not yet evaluated on the {record.images.kept_fit.count(TESTS):,} test images; "
            "do it once, when the head is chosen (--split test)"
        ]
    if record is None or not head.looks:
        return []
    own = len(read_looks(folder, record.test_digest))
    return [describe_looks(own, looks_beside(folder, record.test_digest))]


def _untested(head: Head) -> bool:
    """Whether the head has test images that it was not evaluated on."""
    return head.metrics["test"] is None and head.experiment is not None and TESTS in head.experiment.images.kept_fit


def _an_image(head: Head) -> str | None:
    """The last image that it was evaluated on, preferably a test image, if it is still where it was."""
    if head.predictions is None or not head.info.data or is_url(head.info.data):
        return None
    path = os.path.join(image_root(head.info.data), file_path(head.predictions["path"][-1].as_py()))
    if not os.path.isfile(path):
        return None
    here = os.path.relpath(path)
    return path if here.startswith(os.pardir) else here
