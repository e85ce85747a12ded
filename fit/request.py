"""A fit's options, looked up in a store, and the unfitted head that they describe."""

from collections.abc import Mapping
from dataclasses import dataclass

from fit.head_info import Block
from fit.heads.base import Classifier, HeadSpec, Origin
from fit.heads.build import build_classifier
from fit.heads.parameters import Value
from fit.heads.table import HeadKind
from fit.options import FitOptions
from fit.rows import require_complete
from fit.task import Task
from store.files.names import row_name
from store.reader import FeatureStore
from store.recipe import Output


@dataclass(frozen=True)
class FitRequest:
    """What to fit, on which features.

    Attributes:
        store: the features.
        options: as the user gave them.
        kind: the head's entry in the table.
        parameters: all of the head's parameters.
        output: the column of features.
        reduction: how spatial tensors become what the head takes.
    """

    store: FeatureStore
    options: FitOptions
    kind: HeadKind
    parameters: Mapping[str, Value]
    output: Output
    reduction: str

    @property
    def block(self) -> Block:
        """The features as head.json describes them."""
        store = self.store
        return Block(store.recipe, self.output, self.reduction, weights_of(store), row_name(store.folder.absolute))


def resolve_fit(store: FeatureStore, options: FitOptions) -> FitRequest:
    """Look up what the options name.

    Raises:
        UsageError: an unknown head, parameter or output, or a head that cannot take these features.
        StoppedEarly: the store is not complete.
    """
    parameters = options.checked_parameters()
    require_complete(store)
    output = store.find_output(options.output)
    return FitRequest(store, options, options.kind, parameters, output, options.reduction_for(output.spatial))


def new_classifier(request: FitRequest, task: Task) -> Classifier:
    """The head that a request describes, unfitted.

    Raises:
        UsageError: its parameters are not possible.
    """
    options, block = request.options, request.block
    spec = HeadSpec(
        name=request.kind.name,
        parameters=request.parameters,
        shape=block.shape,
        task=task,
        class_weight=options.class_weight,
        seed=options.seed,
        origin=Origin(block.recipe, block.output, block.weights),
        custom_head=options.custom_head,
        tensorboard=options.tensorboard,
    )
    return build_classifier(spec)


def weights_of(store: FeatureStore) -> str:
    """Where the weights were that a store was extracted with, as its last record says; imagenet in older ones."""
    places = [record.environment.get("weights", "imagenet") for record in store.snapshot.records.values()]
    return str(places[-1]) if places else "imagenet"
