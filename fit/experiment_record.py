"""experiment.json: which image had which role in a fit, what each number was measured on, and what decided the split.

Rows are kept as columns, one entry per image, so that a million images take some 80 MB: `path`; `sha256`, the first 32
hexadecimal digits of each image's digest, one after another in one text; `split_group`, a number; `group`, a position
in `groups`, or -1; and two texts with a letter per image, `first_fit` and `kept_fit`, the roles in the fit that
is evaluated on validation and in the fit that is kept (ROLES).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Self, cast

import numpy as np
import numpy.typing as npt

from fit.choices import NEAR_TWINS
from fit.experiment import Experiment
from fit.number_truth import center_of
from fit.options import FitOptions
from fit.splits import TEST, TRAIN, VALIDATION, Positions
from fit.task import Task
from store.errors import UsageError
from store.json_values import as_list, as_object
from store.schema import InvalidField, Like, OneOf, Range, read_fields, read_value, shown

FORMAT, VERSION = "stillframe-experiment", 1
MOST_BYTES = 2**31

LEARNS, STOPS, CHOOSES, TESTS, LEFT_OUT = "L", "S", "V", "T", "-"
ROLES = {
    LEARNS: "learned from",
    STOPS: "stopped the training early",
    CHOOSES: "validation: chooses between heads and settings",
    TESTS: "test: evaluated on request alone",
    LEFT_OUT: "left out: an identical image, or one of its group, is on another side",
}

_DIGITS = 32  # of each digest: two images with the same 128 bits are the same image

_MEASURED = {
    VALIDATION: "images V of first_fit, predicted by a head that learned from images L and stopped on images S of first_fit",
    TEST: "images T, predicted by the head that is kept: it learned from images L and stopped on images S of kept_fit",
    "cv": "images V, L and S of first_fit, each predicted by a head that has not seen its split group",
}


@dataclass(frozen=True)
class Choices:
    """The options that decided the images, their labels and their split, as `FitOptions` has them.

    Earlier versions did not note `exclude_from`.
    """

    labels: str | None
    val: Annotated[float, Range(0, 1)]
    test: Annotated[float, Range(0, 1)]
    stop: Annotated[float, Range(0, 1)]
    group_by: str | None
    near_twins: Annotated[str, OneOf(NEAR_TWINS)]
    cv: int
    repeats: int
    class_weight: str
    seed: int
    exclude_from: str | None = None


@dataclass(frozen=True)
class RecordedImages:
    """The images of an experiment, one entry each.

    Attributes:
        path: their row names.
        sha256: the first digits of their digests.
        split_group: the number of the split group of each.
        group: the group of each, where --group-by named a column; None for an image of no group.
        first_fit: a letter each, see ROLES.
        kept_fit: likewise.
    """

    path: tuple[str, ...]
    sha256: tuple[str, ...]
    split_group: tuple[int, ...]
    group: tuple[str | None, ...]
    first_fit: str
    kept_fit: str

    def __len__(self) -> int:
        return len(self.path)

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        names = sorted({name for name in self.group if name is not None})
        number = {name: at for at, name in enumerate(names)}
        return {
            "path": list(self.path),
            "sha256": "".join(self.sha256),
            "split_group": list(self.split_group),
            "groups": names,
            "group": [-1 if name is None else number[name] for name in self.group] if names else [],
            "first_fit": self.first_fit,
            "kept_fit": self.kept_fit,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The images that `to_dict` described.

        Raises:
            InvalidField: a field is missing, or is not what it has to be.
        """
        path = _texts(values, "path")
        digits = cast(
            str, read_value(Annotated[str, Like("[0-9a-f]*", "digits")], values.get("sha256"), "images.sha256")
        )
        split_group, names, group = _numbers(values, "split_group"), _texts(values, "groups"), _numbers(values, "group")
        first, kept = (
            cast(str, read_value(str, values.get(name), f"images.{name}")) for name in ("first_fit", "kept_fit")
        )
        lengths = {len(path), len(digits) // _DIGITS, len(split_group), len(first), len(kept)}
        if len(lengths) > 1 or len(digits) % _DIGITS or (names and len(group) != len(path)):
            raise InvalidField("images has columns of several lengths: expected one entry per image in each")
        if not set(first + kept) <= set(ROLES) or not all(-1 <= number < len(names) for number in group):
            raise InvalidField("images has a role or a group that does not exist")
        sha256 = tuple(digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS))
        groups = tuple(None if number < 0 else names[number] for number in group) if names else (None,) * len(path)
        return cls(path, sha256, split_group, groups, first, kept)


@dataclass(frozen=True)
class ExperimentRecord:
    """What a fit was, as far as it concerns images.

    Attributes:
        choices: the options that decided it.
        own_split: whether the store or the labels file has the split.
        task: what is predicted.
        class_counts: (classes,), how many images of train have each class.
        train: how many images train has.
        labels_digest: SHA-256 of the paths and labels of all images.
        images: all images, those left out too.
        training_center: of a regression, the mean and the median of the numbers of train.
    """

    choices: Choices
    own_split: bool
    task: Task
    class_counts: tuple[int, ...]
    train: int
    labels_digest: str
    images: RecordedImages
    training_center: tuple[float, ...] = ()

    @cached_property
    def test_digest(self) -> str:
        """SHA-256 of the contents of the test images: the same for all heads that are tested on the same images."""
        tested = {
            digits for digits, role in zip(self.images.sha256, self.images.kept_fit, strict=True) if role == TESTS
        }
        return _digest(sorted(tested))

    @cached_property
    def roles(self) -> Mapping[str, str]:
        """By the first digits of an image's digest: its role in the fit that is kept; of several, that learned from."""
        found: dict[str, str] = {}
        for digits, role in zip(self.images.sha256, self.images.kept_fit, strict=True):
            if found.get(digits, LEFT_OUT) == LEFT_OUT or role in (LEARNS, STOPS):
                found[digits] = role
        return found

    @cached_property
    def splits(self) -> Mapping[str, str]:
        """By the first digits of an image's digest: train, validation or test; images left out have none."""
        names = {LEARNS: TRAIN, STOPS: TRAIN, CHOOSES: VALIDATION, TESTS: TEST}
        pairs = zip(self.images.sha256, self.images.first_fit, strict=True)
        return {digits: names[role] for digits, role in pairs if role in names}

    @cached_property
    def left_out(self) -> frozenset[tuple[str, str]]:
        """Path and first digits of each image that had no role, since it belongs with one on another side."""
        images = self.images
        triples = zip(images.path, images.sha256, images.first_fit, strict=True)
        return frozenset((path, digits) for path, digits, role in triples if role == LEFT_OUT)

    @cached_property
    def learned_groups(self) -> frozenset[str]:
        """The groups of images that the kept head has seen."""
        pairs = zip(self.images.group, self.images.kept_fit, strict=True)
        return frozenset(name for name, role in pairs if name is not None and role in (LEARNS, STOPS))

    def has_labels(self, labels: Mapping[str, str | None]) -> bool:
        """Whether the images still have the labels that they had in the fit; `labels` are those of today, by path."""
        try:
            targets = self.task.encode([labels.get(path) for path in self.images.path])
        except UsageError:  # one is missing, or is none of the classes
            return False
        return _labels_digest(self.images.path, self.task.texts(targets)) == self.labels_digest

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        counts = {name: self.images.kept_fit.count(role) for role, name in ROLES.items()}
        return {
            "format": FORMAT,
            "version": VERSION,
            "task": {"classes": list(self.task.classes), "multi_label": self.task.multi_label},
            "options": asdict(self.choices),
            "own_split": self.own_split,
            "train": self.train,
            "class_counts": list(self.class_counts),
            "labels_digest": self.labels_digest,
            "test_digest": self.test_digest,
            "measured_on": _MEASURED,
            "roles": ROLES,
            "kept_fit_counts": counts,
            "images": self.images.to_dict(),
            **({"training_center": list(self.training_center)} if self.training_center else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The record that `to_dict` described.

        Raises:
            InvalidField: a field is missing, or is not what it has to be.
        """
        if values.get("format") != FORMAT or values.get("version") != VERSION:
            raise InvalidField(f"format is {shown(values.get('format'))}, version {shown(values.get('version'))}")
        task = as_object(values.get("task"), "task")
        classes = cast(tuple[str, ...], read_value(tuple[str, ...], task.get("classes"), "task.classes"))
        multi_label = cast(bool, read_value(bool, task.get("multi_label"), "task.multi_label"))
        counts = cast(tuple[int, ...], read_value(tuple[int, ...], values.get("class_counts"), "class_counts"))
        if len(counts) != len(classes):
            raise InvalidField(f"class_counts has {len(counts)} numbers: expected one per class, {len(classes)}")
        center = read_value(tuple[float, ...], values.get("training_center", []), "training_center")
        return cls(
            choices=read_fields(Choices, as_object(values.get("options"), "options"), within="options."),
            own_split=cast(bool, read_value(bool, values.get("own_split"), "own_split")),
            task=Task(classes, multi_label),
            class_counts=counts,
            train=cast(int, read_value(int, values.get("train"), "train")),
            labels_digest=cast(str, read_value(str, values.get("labels_digest"), "labels_digest")),
            images=RecordedImages.from_dict(as_object(values.get("images"), "images")),
            training_center=cast(tuple[float, ...], center),
        )


def record_experiment(experiment: Experiment, options: FitOptions, stops_early: bool) -> ExperimentRecord:
    """The record of a fit of a head that stops early, or does not."""
    images = experiment.images
    rows, split = images.rows, experiment.split
    validation = (split.validation, CHOOSES)
    first, kept = experiment.first_roles(stops_early), experiment.final_roles(stops_early)
    owners = [None] * len(images) if options.group_by is None else rows.groups(options.group_by)
    labels = images.task.texts(images.targets)
    recorded = RecordedImages(
        path=tuple(rows.texts("path")),
        sha256=tuple(first_digits(rows.texts("sha256"))),
        split_group=tuple(images.split_groups.of_rows.tolist()),
        group=tuple(owners),
        first_fit=_letters(len(images), (split.test, TESTS), validation, (first.learn, LEARNS), (first.stop, STOPS)),
        kept_fit=_letters(len(images), (split.test, TESTS), (kept.learn, LEARNS), (kept.stop, STOPS)),
    )
    return ExperimentRecord(
        choices=_choices(options),
        own_split=rows.table["split"].null_count < len(rows),
        task=images.task,
        class_counts=tuple(images.task.class_counts(images.targets[split.train]).tolist()),
        train=len(split.train),
        labels_digest=_labels_digest(recorded.path, labels),
        images=recorded,
        training_center=center_of(images.targets[split.train].astype(np.float64)) if images.task.regression else (),
    )


def _choices(options: FitOptions) -> Choices:
    names = ("val", "test", "stop", "group_by", "near_twins", "cv", "repeats", "class_weight", "seed")
    labels, excluded = (None if file is None else str(file) for file in (options.labels, options.exclude_from))
    return Choices(labels=labels, exclude_from=excluded, **{name: getattr(options, name) for name in names})


def first_digits(sha256: Iterable[str]) -> list[str]:
    """As many digits of each digest as a record keeps."""
    return [digest[:_DIGITS] for digest in sha256]


def _letters(count: int, *roles: tuple[Positions, str]) -> str:
    letters: npt.NDArray[np.str_] = np.full(count, LEFT_OUT)
    for images, letter in roles:
        letters[images] = letter
    return "".join(letters.tolist())


def _labels_digest(paths: Sequence[str], labels: Sequence[str]) -> str:
    return _digest(f"{path}\0{label}" for path, label in zip(paths, labels, strict=True))


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogatepass") + b"\n")
    return digest.hexdigest()


def _texts(values: Mapping[str, object], name: str) -> tuple[str, ...]:
    return cast(tuple[str, ...], _list_of(str, values, name))


def _numbers(values: Mapping[str, object], name: str) -> tuple[int, ...]:
    return cast(tuple[int, ...], _list_of(int, values, name))


def _list_of(kind: type, values: Mapping[str, object], name: str) -> tuple[object, ...]:
    found = as_list(values.get(name), f"images.{name}")
    if set(map(type, found)) - {kind}:
        raise InvalidField(f"images.{name} is {shown(found)}: expected a list, each of one kind")
    return tuple(found)
