"""head.json: all that rebuilds a head and its features."""

import hashlib
import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Self, cast

from fit.choices import CLASS_WEIGHTS, REDUCTIONS, WHOLE
from fit.data import reduced_shape
from fit.heads.parameters import Value
from fit.heads.table import HEADS
from fit.task import DEFAULT_DECISION, Decision, Task
from store.errors import UsageError
from store.json_values import JsonObject, as_list, as_object
from store.recipe import Output, Recipe
from store.schema import InvalidField, Like, OneOf, Range, read_fields, read_value, shown


@dataclass(frozen=True)
class Block:
    """A column of features that a head takes, and where it comes from.

    Attributes:
        recipe: what the features depend on.
        output: the column.
        reduction: how spatial tensors become what the head takes.
        weights: where the backbone's weights were: imagenet, random:SEED or a file; their digest is the recipe's.
        store: where the features were, as a row name: a folder or a URL; empty in older heads.
        scale: what its features are multiplied by, beside other blocks; see `fit.heads.balanced`.
        network: of a head with the precision int8 that was loaded, its folder, which has the quantized network; not in
            head.json, for folders move.
    """

    recipe: Recipe
    output: Output
    reduction: Annotated[str, OneOf((*REDUCTIONS, WHOLE))]
    weights: str
    store: str = ""
    scale: Annotated[float, Range(0)] = 1.0
    network: str = ""

    @property
    def place(self) -> str:
        """Where its network is now: as `weights`, or with the precision int8 the folder that has the quantized one."""
        return (self.network or self.store) if self.recipe.quantization is not None else self.weights

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row as the head takes it."""
        return reduced_shape(self.output.shape, self.reduction)

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "reduction": self.reduction,
            "recipe": self.recipe.to_dict(),
            "output": self.output.to_dict(),
            "weights": self.weights,
            "store": self.store,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object], within: str = "") -> Self:
        """The block that `to_dict` described.

        Raises:
            InvalidField: a field is missing or not what it has to be; in messages its name follows `within`.
            NotAStore: its recipe has fields that this version does not know.
        """
        recipe = Recipe.from_dict(as_object(values.get("recipe"), f"{within}recipe"), f"{within}recipe.")
        output = Output.from_dict(as_object(values.get("output"), f"{within}output"), f"{within}output.")
        if (output.layer, output.dtype) not in zip(recipe.layers, recipe.dtypes, strict=False):
            raise InvalidField(
                f"{within}output.layer is {shown(output.layer)}: expected one of the recipe's, with its dtype"
            )
        return read_fields(cls, values, {"recipe": recipe, "output": output, "network": ""}, within)


_IN_ORDER = (
    *("head", "parameters", "reduction", "classes", "several", "class_weight", "seed", "recipe", "output", "weights"),
    *("blocks", "versions", "data", "store", "decision"),
)
"""The fields of head.json in their order, which is that of 0.5.0."""


@dataclass(frozen=True)
class HeadInfo:
    """What a head is.

    Attributes:
        head: its name in the table, or module:function of a custom head.
        parameters: all of its parameters.
        classes: their names, in the order of the probabilities' columns; none of a regression.
        multi_label: whether an image may have several labels.
        class_weight: none or balanced.
        seed: of all that was random.
        blocks: the columns of features that it was fitted on.
        versions: of the libraries that it was fitted with.
        data: where the images were, as a row name: a folder, or the table that lists them; empty in older heads.
        decision: how probabilities become predictions; head.json leaves out the default.
    """

    head: Annotated[str, Like(".{1,300}", "a head's name of at most 300 characters")]
    parameters: Mapping[str, Value]
    classes: Annotated[tuple[str, ...], Like(".+", "a class's name")]
    multi_label: bool
    class_weight: Annotated[str, OneOf(CLASS_WEIGHTS)]
    seed: int
    blocks: tuple[Block, ...]
    versions: Mapping[str, str]
    data: str = ""
    decision: Decision = DEFAULT_DECISION

    @property
    def task(self) -> Task:
        """What the head predicts."""
        return Task(self.classes, self.multi_label, self.decision)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row as the head takes it."""
        if len(self.blocks) == 1:
            return self.blocks[0].shape
        return (sum(self.widths),)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many columns of a joined row each block has."""
        return tuple(math.prod(block.shape) for block in self.blocks)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the recipe, or of the recipes of all blocks."""
        return joint_fingerprint([block.recipe for block in self.blocks])

    @property
    def backbone(self) -> str:
        """The name of the backbone, or the names of the blocks' backbones."""
        return " + ".join(dict.fromkeys(block.recipe.backbone for block in self.blocks))

    @property
    def quantized(self) -> bool:
        """Whether any of its features are computed in 8 bits."""
        return any(block.recipe.quantization is not None for block in self.blocks)

    @property
    def version(self) -> int:
        """Of the format of head.json: 2 where there are several blocks, which earlier programs do not know."""
        return 1 if len(self.blocks) == 1 else 2

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values; `multi_label` is named several, and the fields of an only block are beside it, as in
        0.5.0.
        """
        decision = self.decision.to_dict()
        joined = {"blocks": [{**block.to_dict(), "scale": block.scale} for block in self.blocks]}
        values: dict[str, object] = {
            "head": self.head,
            "parameters": dict(self.parameters),
            "classes": list(self.classes),
            "several": self.multi_label,
            "class_weight": self.class_weight,
            "seed": self.seed,
            **(joined if len(self.blocks) > 1 else self.blocks[0].to_dict()),
            "versions": dict(self.versions),
            "data": self.data,
            **({"decision": decision} if decision else {}),
        }
        return {name: values[name] for name in sorted(values, key=_IN_ORDER.index)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The head that `to_dict` described.

        Raises:
            InvalidField: a field is missing, unknown or not what it has to be.
            NotAStore: its recipe has fields that this version does not know.
        """
        own = {"several" if field.name == "multi_label" else field.name for field in fields(cls)}
        if "blocks" not in values:  # the only block's fields are beside the head's
            own = (own | {field.name for field in fields(Block)}) - {"blocks", "scale", "network"}
        if unknown := set(values) - own:
            raise InvalidField(f"{min(unknown)} is not a field of a head: expected {', '.join(sorted(own))}")
        blocks = _blocks(values)
        several = read_value(bool, values.get("several"), "several")
        parameters = _parameters(values.get("head"), as_object(values.get("parameters"), "parameters"))
        decision = Decision.from_dict(as_object(values.get("decision", {}), "decision"), "decision.")
        made = {"blocks": blocks, "parameters": parameters, "multi_label": several, "decision": decision}
        info = read_fields(cls, values, made)
        _require_consistent(info)
        return info


def _blocks(values: Mapping[str, object]) -> tuple[Block, ...]:
    """The blocks of a head: several in a list, or the only one's fields."""
    if "blocks" not in values:
        return (Block.from_dict(values),)
    described = as_list(values["blocks"], "blocks")
    blocks = tuple(
        Block.from_dict(as_object(block, f"blocks.{number}"), f"blocks.{number}.")
        for number, block in enumerate(described)
    )
    if len(blocks) < 2 or any(len(block.shape) != 1 for block in blocks):
        raise InvalidField(f"blocks is {shown(described)}: expected two or more, each reduced to vectors")
    return blocks


def joint_fingerprint(recipes: Sequence[Recipe]) -> str:
    """The fingerprint of a recipe; of several, the SHA-256 of theirs, one a line."""
    if len(recipes) == 1:
        return recipes[0].fingerprint
    return hashlib.sha256("\n".join(recipe.fingerprint for recipe in recipes).encode()).hexdigest()


def _parameters(head: object, given: JsonObject) -> JsonObject:
    """The parameters of a head: those that the table added since have their default; a user's function has any.

    Raises:
        InvalidField: one is not of its type, or below its smallest value.
    """
    if not isinstance(head, str) or head not in HEADS:
        return given
    kind, parameters = HEADS[head], dict(given)
    for parameter in kind.parameters:
        value = parameters.setdefault(parameter.name, parameter.default)
        read_value(type(parameter.default), value, f"parameters.{parameter.name}")
    try:
        kind.require_possible(cast(dict[str, Value], parameters))
    except (UsageError, OverflowError) as error:  # a number that is larger than any float
        raise InvalidField(f"parameters.{error}") from error
    return parameters


def _require_consistent(info: HeadInfo) -> None:
    """Raise InvalidField unless the fields go together as those of a fitted head do."""
    if info.task.regression:
        if (
            info.multi_label
            or info.decision != DEFAULT_DECISION
            or not (info.head in HEADS and HEADS[info.head].regression)
        ):
            raise InvalidField(f"classes is empty: expected two or more of the head {shown(info.head)}")
        return
    if len(info.classes) < 2 or len(set(info.classes)) != len(info.classes):
        raise InvalidField(f"classes is {shown(list(info.classes))}: expected two or more, each once")
    if not _decides(info):
        raise InvalidField(
            f"decision is {shown(info.decision.to_dict())}: expected one for {len(info.classes)} classes"
        )


def _decides(info: HeadInfo) -> bool:
    """Whether the decision has as many thresholds and costs as the classes ask for."""
    decision, count = info.decision, len(info.classes)
    if decision.costs:
        return not (info.multi_label or decision.thresholds) and {count} == {
            len(decision.costs),
            *map(len, decision.costs),
        }
    if not decision.thresholds:
        return decision.positive == "" and not (info.multi_label and decision.abstain)
    if info.multi_label:
        return len(decision.thresholds) == count and not decision.abstain
    return count == 2 and len(decision.thresholds) == 1 and decision.positive in info.classes


def installed_versions() -> dict[str, str]:
    """Versions of the libraries that a head depends on."""
    return {name: importlib.metadata.version(name) for name in ("stillframe", "numpy", "scikit-learn", "keras")}
