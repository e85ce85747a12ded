"""A fit's options, looked up in its stores, and the unfitted head that they describe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fit.blocks import StoredBlock, find_outputs
from fit.head_info import Block, joint_fingerprint
from fit.heads.balanced import BalancedClassifier
from fit.heads.base import Classifier, HeadSpec, Origin
from fit.heads.build import build_classifier
from fit.heads.parameters import Value
from fit.heads.table import HeadKind
from fit.options import FitOptions
from fit.rows import require_complete
from fit.task import Task
from store.reader import FeatureStore


@dataclass(frozen=True)
class FitRequest:
    """What to fit, on which features.

    Attributes:
        stores: of the features; the first one says which images there are.
        options: as the user gave them.
        kind: the head's entry in the table.
        parameters: all of the head's parameters.
        stored: the columns of features, each with its reduction.
    """

    stores: tuple[FeatureStore, ...]
    options: FitOptions
    kind: HeadKind
    parameters: Mapping[str, Value]
    stored: tuple[StoredBlock, ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The columns of features as head.json describes them."""
        return tuple(stored.block for stored in self.stored)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many columns of a joined row each block has."""
        return tuple(math.prod(block.shape) for block in self.blocks)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the recipe, or of the recipes of all blocks."""
        return joint_fingerprint([stored.store.recipe for stored in self.stored])


def resolve_fit(store: FeatureStore | Sequence[FeatureStore], options: FitOptions) -> FitRequest:
    """Look up what the options name, in one store or in several of the same images.

    Raises:
        UsageError: an unknown head, parameter or output, or a head that cannot take these features.
        StoppedEarly: a store is not complete.
    """
    stores = (store,) if isinstance(store, FeatureStore) else tuple(store)
    parameters = options.checked_parameters()
    for one in stores:
        require_complete(one)
    found = find_outputs(stores, options.output)
    joined = len(found) > 1
    stored = [
        StoredBlock(number, stores[number], output, options.reduction_for(output.spatial, joined))
        for number, output in found
    ]
    return FitRequest(stores, options, options.kind, parameters, tuple(stored))


def new_classifier(request: FitRequest, task: Task) -> Classifier:
    """The head that a request describes, unfitted.

    Raises:
        UsageError: its parameters are not possible.
    """
    options, blocks, widths = request.options, request.blocks, request.widths
    spec = HeadSpec(
        name=request.kind.name,
        parameters=request.parameters,
        shape=blocks[0].shape if len(blocks) == 1 else (sum(widths),),
        task=task,
        class_weight=options.class_weight,
        seed=options.seed,
        origin=Origin(blocks[0].recipe, blocks[0].output, blocks[0].weights),
        custom_head=options.custom_head,
        tensorboard=options.tensorboard,
        blocks=widths if len(widths) > 1 else (),
    )
    classifier = build_classifier(spec)
    return classifier if len(blocks) == 1 else BalancedClassifier(classifier, widths)
