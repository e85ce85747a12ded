"""What can be asked of a fit, checked: one frozen dataclass that the command line and Python fill alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated

from fit.choices import CLASS_WEIGHTS, CLASSIFICATION, NEAR_TWINS, REDUCTIONS, REGRESSION, TASKS, WHOLE
from fit.common_options import ABSTAINS, ByColumn, ExcludedFile, LabelsFile, LikeFolder
from fit.completion import complete_head, complete_output
from fit.heads.parameters import Value
from fit.heads.table import DEFAULT_HEAD, HEADS, HeadKind, heads_with
from fit.threshold_rule import COST, ThresholdRule
from store.errors import UsageError
from store.options import Option, one_of

SHORTCUTS = ("epochs", "batch_size", "learning_rate", "optimizer")
"""Parameters that have an option of their own."""


def require_abstain(probability: float | None) -> None:
    """Raise UsageError unless --abstain is left out, or is a probability."""
    if probability is not None and not 0 <= probability <= 1:
        raise UsageError(f"--abstain is {probability}: expected a probability from 0 to 1")


@dataclass(frozen=True)
class FitOptions:
    """The options of `fit head` and of `fit_head()`.

    `parameters` are the head's own, and `custom_head` is the function of a custom head, both from Python; the command
    line has --set and names the function module:function. `reduce` None is the head's own way.

    Raises:
        UsageError: a value that cannot be. Whether several go together, `checked_parameters` says: those that are given
            beside `like` go with the head's own.
    """

    head: Annotated[
        str, Option("What to fit; `fit heads` lists them. module:function for a custom head.", complete=complete_head)
    ] = DEFAULT_HEAD
    task: Annotated[
        str, Option("classification, or regression: labels are numbers, which are predicted.", complete=one_of(TASKS))
    ] = CLASSIFICATION
    output: Annotated[
        tuple[str, ...],
        Option(
            "Which output, where a store has several; repeat it to join several in one head.", complete=complete_output
        ),
    ] = ()
    reduce: Annotated[
        str | None,
        Option("avg, max or flatten: how spatial tensors become vectors.", default="avg", complete=one_of(REDUCTIONS)),
    ] = None
    labels: LabelsFile = None
    exclude_from: ExcludedFile = None
    val: Annotated[float, Option("The fraction for validation, where the store has none.")] = 0.2
    test: Annotated[float, Option("The fraction for the test, where the store has no splits.")] = 0.2
    stop: Annotated[
        float, Option("The fraction of the images to learn from that stops heads early which Keras fits; 0 for none.")
    ] = 0.15
    evaluate_test: Annotated[
        bool, Option("Evaluate the head on the test images too: when it is chosen, for each look is counted.")
    ] = False
    cv: Annotated[int, Option("Also cross-validate on train and validation with this number of folds; 0 for none.")] = 0
    repeats: Annotated[int, Option("How often to cross-validate, each time with other folds.")] = 1
    group_by: Annotated[str | None, Option("A column, such as group, whose equal values stay on one side.")] = None
    by: ByColumn = None
    near_twins: Annotated[
        str,
        Option(
            "keep-together or ignore: whether images with nearly the same features stay on one side.",
            complete=one_of(NEAR_TWINS),
        ),
    ] = NEAR_TWINS[0]
    class_weight: Annotated[str, Option("balanced or none.", complete=one_of(CLASS_WEIGHTS))] = "none"
    threshold: Annotated[
        str | None,
        Option("accuracy, f1 or recall=R: thresholds chosen on validation; or cost=FILE, a CSV of actual x predicted."),
    ] = None
    positive: Annotated[
        str | None, Option("Of two classes, the one whose threshold is chosen.", default="the rarer in train")
    ] = None
    abstain: Annotated[float | None, Option(ABSTAINS)] = None
    seed: Annotated[int, Option("Random seed of splits, folds and training.")] = 0
    tensorboard: Annotated[str | None, Option("A folder for TensorBoard: heads that Keras fits.")] = None
    parameters: Mapping[str, Value] = field(default_factory=dict)
    custom_head: Callable[..., object] | None = None

    def __post_init__(self) -> None:
        output: object = self.output
        if output is None or isinstance(output, str):  # as Python programs may give it
            object.__setattr__(self, "output", () if output is None else (output,))
        if len(set(self.output)) != len(self.output):
            raise UsageError("--output names the same output twice: name each once")
        if self.reduce is not None and self.reduce not in REDUCTIONS:
            raise UsageError(f"--reduce is {self.reduce!r}: expected one of {', '.join(REDUCTIONS)}")
        if self.task not in TASKS:
            raise UsageError(f"--task is {self.task!r}: expected one of {', '.join(TASKS)}")
        if self.class_weight not in CLASS_WEIGHTS:
            raise UsageError(f"--class-weight is {self.class_weight!r}: expected one of {', '.join(CLASS_WEIGHTS)}")
        if self.near_twins not in NEAR_TWINS:
            raise UsageError(f"--near-twins is {self.near_twins!r}: expected one of {', '.join(NEAR_TWINS)}")
        for name, value in (("--val", self.val), ("--test", self.test), ("--stop", self.stop)):
            if not 0 <= value < 1:
                raise UsageError(f"{name} is {value}: expected a fraction from 0 to below 1")
        if self.cv < 0 or self.cv == 1:
            raise UsageError(f"--cv is {self.cv}: expected 2 folds or more")
        if self.repeats < 1:
            raise UsageError(f"--repeats is {self.repeats}: expected 1 or more")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}: expected 0 or more")
        require_abstain(self.abstain)
        if self.threshold is not None:
            ThresholdRule.parse(self.threshold)

    @property
    def kind(self) -> HeadKind:
        """The head asked for."""
        from fit.heads.build import find_kind  # imports custom heads, which help need not wait for

        return find_kind(self.head, self.custom_head)

    def checked_parameters(self) -> dict[str, Value]:
        """All of the head's parameters.

        Raises:
            UsageError: one that it does not have, or that cannot be; an option that it has no use for; or options that do
                not go together.
        """
        self.require_consistent()
        kind = self.kind
        known = {parameter.name for parameter in kind.parameters}
        for name in SHORTCUTS:
            if name in self.parameters and name not in known:
                raise UsageError(
                    f"--{name.replace('_', '-')} is not for the head {kind.name}, but for {', '.join(heads_with(name))}"
                )
        if self.class_weight != "none" and not kind.weighted:
            raise UsageError(f"--class-weight is not for the head {kind.name}, which has no weights: leave it out")
        if self.tensorboard is not None and not kind.logs_to_tensorboard:
            fitted_by_keras = [other.name for other in HEADS.values() if other.logs_to_tensorboard]
            raise UsageError(
                f"--tensorboard is not for the head {kind.name}, but for those that Keras fits: {', '.join(fitted_by_keras)}"
            )
        if self.task == REGRESSION:
            self._require_regression(kind)
        values = kind.complete(self.parameters)
        kind.require_possible(values)
        return values

    def require_consistent(self) -> None:
        """Raise UsageError if two options do not go together."""
        if self.val + self.test >= 1:
            raise UsageError(f"--val {self.val} and --test {self.test} leave nothing to train on: lower them")
        if self.repeats > 1 and not self.cv:
            raise UsageError(
                f"--repeats is {self.repeats}, and there is no cross-validation to repeat: give --cv FOLDS too"
            )
        rule = None if self.threshold is None else ThresholdRule.parse(self.threshold)
        if self.positive is not None and (rule is None or rule.name == COST):
            raise UsageError(
                "--positive is the class whose threshold is chosen: use it with --threshold accuracy, f1 or recall=R"
            )

    def _require_regression(self, kind: HeadKind) -> None:
        """Raise UsageError if the head cannot predict numbers, or an option is about classes."""
        if not kind.regression:
            able = ", ".join(other.name for other in HEADS.values() if other.regression)
            raise UsageError(f"the head {kind.name} predicts classes alone: for --task regression use one of {able}")
        about_classes = {
            "--class-weight": self.class_weight != "none",
            "--threshold": self.threshold is not None,
            "--abstain": self.abstain is not None,
        }
        for name, given in about_classes.items():
            if given:
                raise UsageError(f"{name} is about classes, and --task regression predicts a number: leave it out")

    def reduction_for(self, spatial: bool, joined: bool = False) -> str:
        """How features become what the head takes; those that are `joined` with others have to become vectors.

        Raises:
            UsageError: the head takes tensors and the features are vectors, or are to be made vectors.
        """
        if joined and self.kind.spatial:
            raise UsageError(
                f"the head {self.head} takes the tensor of one output as it is, and several are joined as vectors: use "
                "--head logistic or --head dense, or name one output of one store"
            )
        if not self.kind.spatial:
            reduction = self.reduce or self.kind.default_reduction
            return "avg" if joined and reduction == WHOLE else reduction
        if not spatial:
            raise UsageError(
                f"the head {self.head} takes spatial tensors and these features are vectors: "
                "extract with --pooling none, or use --head dense"
            )
        if self.reduce is not None:
            raise UsageError(f"--reduce is not for the head {self.head}, which takes tensors as they are: leave it out")
        return WHOLE


@dataclass(frozen=True)
class Shortcuts:
    """The parameters of heads that have an option of their own."""

    epochs: Annotated[int | None, Option("Passes at most: sgd, mlp, heads that Keras fits.")] = None
    batch_size: Annotated[int | None, Option("Images per step: sgd, heads that Keras fits.")] = None
    learning_rate: Annotated[float | None, Option("The step size: sgd, boosting, heads that Keras fits.")] = None
    optimizer: Annotated[str | None, Option("Any of Keras', such as adam or sgd: heads that Keras fits.")] = None

    def given(self) -> dict[str, Value]:
        """The values that were given, by name."""
        named = ((name, getattr(self, name)) for name in SHORTCUTS)
        return {name: value for name, value in named if value is not None}


@dataclass(frozen=True)
class HeadCall(Shortcuts, FitOptions):
    """The parameters of `fit_head()`: all options of `fit head`, and whether to show progress."""

    like: LikeFolder = None
    progress: Annotated[bool, Option("Show on standard error what is being done.")] = False

    def options(self) -> FitOptions:
        """The head to fit."""
        named = {field.name: getattr(self, field.name) for field in fields(FitOptions)}
        return FitOptions(**{**named, "parameters": {**self.parameters, **self.given()}})


def parse_settings(settings: Sequence[str]) -> dict[str, Value]:
    """`--set key=value`, repeated.

    Raises:
        UsageError: one has no `=`.
    """
    values: dict[str, Value] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: expected key=value, as in --set dropout=0.2")
        values[name.strip()] = value.strip()
    return values
