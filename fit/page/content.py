"""What a page of a head says, as values: everything is text or a number, and nothing is HTML yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fit.metrics.scores import ClassScores
from fit.page.charts import LineChart, ReliabilityChart
from fit.page.thumbnails import ClassAverage

_SHORT_NAME = 3


@dataclass(frozen=True)
class Number:
    """A measured value in words.

    Attributes:
        value: such as 95.8 %.
        interval: its 95 % interval, such as 93.6 to 97.8 %; empty if it has none.
        reason: why it has none, where metrics.json says so.
    """

    value: str
    interval: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ScoreTable:
    """Metrics by evaluation.

    Attributes:
        evaluations: the name of each column.
        rows: the name of each metric, with a number per column.
        notes: for each column, of how many images it is, and what they were used for.
        reasons: why metrics have no interval: the reason, and which metrics of which evaluations.
    """

    evaluations: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Number]]]
    notes: Sequence[tuple[str, str]]
    reasons: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix.

    Attributes:
        images: how many.
        shade: 0 to 7, by the share of the row's images.
        actual: what the filter for the actual class has to be, to show the images: a class's number, `!` before it for not
            that class; empty where they cannot be shown.
        predicted: likewise for the predicted class.
        says: the cell in words.
        right: whether its images are predicted correctly.
    """

    images: int
    shade: int
    actual: str
    predicted: str
    says: str
    right: bool


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix: the names of its columns, and rows of a name and cells; a note on what is left out."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    of: str
    note: str

    @property
    def short(self) -> bool:
        """Whether the names of the columns are short enough to be written across."""
        return all(len(name) <= _SHORT_NAME for name in self.columns)


@dataclass(frozen=True)
class NearImage:
    """A training image that is near another: its number on the page, its label and the cosine of both."""

    image: int
    path: str
    label: str
    cosine: str


@dataclass(frozen=True)
class Mistake:
    """An image that is predicted wrongly, by its number on the page, and the training images nearest to it."""

    image: int
    path: str
    actual: str
    predicted: str
    probability: str
    near: Sequence[NearImage]


@dataclass(frozen=True)
class Group:
    """The images of one group that were evaluated: how many, the share that is right, and that in words."""

    name: str
    images: int
    share: float
    accuracy: Number


@dataclass(frozen=True)
class GroupTable:
    """Accuracy by the values of a column, the lowest first."""

    column: str
    groups: Sequence[Group]


@dataclass(frozen=True)
class ClassLook:
    """How a class looks: some of its images by their numbers on the page, and their average."""

    name: str
    images: Sequence[int]
    total: int
    average: ClassAverage | None


@dataclass(frozen=True)
class Snippet:
    """Text to copy, with a title."""

    title: str
    text: str


@dataclass(frozen=True)
class Listed:
    """The images that a page lists, column by column; the scripts of the page read it as JSON.

    Attributes:
        paths: of each image.
        actual: the numbers of its classes.
        predicted: likewise.
        probability: of the predicted class.
        evaluation: a position in `evaluations`.
        evaluations: the names of the evaluations.
        right: 1 or 0.
        group: a position in `groups`, or -1.
        groups: their names.
        thumbnail: base64, empty where there is none.
        kind: the thumbnails' MIME type.
        x: where it is on the map, 0 to 1; null where it is not; empty without a map.
        y: likewise.
        axes: what the axes of the map are, in a sentence.
    """

    paths: Sequence[str]
    actual: Sequence[Sequence[int]]
    predicted: Sequence[Sequence[int]]
    probability: Sequence[float]
    evaluation: Sequence[int]
    evaluations: Sequence[str]
    right: Sequence[int]
    group: Sequence[int]
    groups: Sequence[str]
    thumbnail: Sequence[str]
    kind: str
    x: Sequence[float | None] = ()
    y: Sequence[float | None] = ()
    axes: str = ""


@dataclass(frozen=True)
class LabelDoubt:
    """An image whose label is in doubt: its position among the page's images, and in words what is doubted and why."""

    position: int
    path: str
    label: str
    suggested: str
    reason: str


@dataclass(frozen=True)
class AuditSection:
    """What the page says of an audit.

    Attributes:
        doubts: the most doubtful labels, at most a dozen.
        doubted: their number, and the number of images that were assessed, in words; empty where labels could not be assessed.
        small: classes of too few images to assess, with their numbers.
        sentences: what is known of copies.
        command: of the full audit.
    """

    doubts: Sequence[LabelDoubt]
    doubted: str
    small: Sequence[tuple[str, int]]
    sentences: Sequence[str]
    command: str


@dataclass(frozen=True)
class Content:
    """Everything on the page.

    Attributes:
        title: which head.
        place: its folder.
        classes: their names.
        multi_label: whether an image may have several.
        of: the images that the head is reported by, in words.
        reported: their evaluation: test, cv, validation or train.
        accuracy: of them.
        baseline: the accuracy of always giving the most frequent class.
        calibration_error: of their predictions.
        wrong: how many are wrong.
        chosen_on: what they were used for, in a sentence.
        scores: all metrics.
        confusion: of them.
        mistakes: most confident errors first.
        per_class: scores of each class.
        groups: accuracy by group, or by the column that `fit head --by` names; None without one.
        reliability: how often predictions are right, by their probability.
        audit: what of an audit is known.
        training: loss and accuracy of each epoch.
        kept: which epoch's weights are kept, in a sentence.
        looks: samples of classes.
        listed: the images.
        total: how many images the head has, listed or not.
        rows: how many images each split has.
        hint: how there would be more thumbnails, in a sentence, or "".
        recipe: what the features depend on.
        versions: of the libraries.
        blocks: commands and settings to copy.
        notes: what is missing from the page, and why.
    """

    title: str
    place: str
    classes: Sequence[str]
    multi_label: bool
    of: str
    reported: str
    accuracy: Number
    baseline: Number
    calibration_error: Number
    wrong: int
    chosen_on: str
    scores: ScoreTable
    confusion: Confusion
    mistakes: Sequence[Mistake]
    per_class: Sequence[ClassScores]
    groups: GroupTable | None
    reliability: ReliabilityChart
    audit: AuditSection
    training: Sequence[LineChart]
    kept: str
    looks: Sequence[ClassLook]
    listed: Listed
    total: int
    rows: Mapping[str, int]
    hint: str
    recipe: Mapping[str, str]
    versions: Mapping[str, str]
    blocks: Sequence[Snippet]
    notes: Sequence[str] = field(default=())

    @property
    def thumbnails(self) -> int:
        """The number of images that have a thumbnail."""
        return sum(map(bool, self.listed.thumbnail))

    @property
    def has_near(self) -> bool:
        """Whether any mistake has nearest training images."""
        return any(mistake.near for mistake in self.mistakes)

    @property
    def weakest(self) -> ClassScores:
        """The class with the lowest F1 among those that were evaluated."""
        return min(self.per_class, key=lambda entry: (entry.rows == 0, entry.f1))
