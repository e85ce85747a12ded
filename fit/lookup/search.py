"""Search in a store: exact, shard by shard, in memory bounded by a shard; or by an index, approximate."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, FeatureExtractor, Reporter, take_images
from fit.blocks import find_stored
from fit.choices import WHOLE
from fit.data import reduce_tensor
from fit.head import load_head
from fit.lookup.candidates import Candidates
from fit.lookup.index import Recall, open_index, require_usearch
from fit.lookup.options import SearchOptions
from fit.neighbors import NO_ROW, nearest
from fit.rows import ImageRows, pick, select_images, select_split
from fit.splits import Positions
from fit.task import first_names
from store.errors import UsageError
from store.files.names import file_path, printable
from store.information import weights_of
from store.labels import plain_label, split_labels
from store.reader import FeatureStore

_SHOWN = 10  # names of labels or classes in a message

ROW, IMAGE, CLASS = "row", "image", "class"
"""What a query can be: an image of the store, another image, a class of a head."""


@dataclass(frozen=True)
class Match:
    """An image that was found: its position among the store's images, and its cosine or probability."""

    row: int
    score: float


@dataclass(frozen=True)
class Answer:
    """What was found for a query, the best first.

    Attributes:
        query: the path of an image, or the name of a class.
        kind: ROW, IMAGE or CLASS.
        matches: at most as many as were asked for.
        error: what was wrong with the image, so that nothing is found.
        recall: how good the index is by which it was found; None for exact search.
    """

    query: str
    kind: str
    matches: Sequence[Match]
    error: str | None = None
    recall: Recall | None = None

    @property
    def measure(self) -> str:
        """What a score measures."""
        return "probability" if self.kind == CLASS else "cosine"


def search_store(
    store: FeatureStore, queries: Sequence[str], options: SearchOptions, reporter: Reporter = SILENT
) -> list[Answer]:
    """The images of a store that are nearest to each query.

    Args:
        store: what is searched; those of its images that are there, if it is not complete.
        queries: paths of images of the store, or of other images; none where a class of a head is searched for.
        options: how many, and which images count.
        reporter: shows progress.

    Raises:
        UsageError: there is no such image, class, split or label, or nothing to search for.
        RecipeMismatch: the head, or the weights, are of another recipe than the store.
        EnvironmentFailure: an image cannot be read now.
    """
    if bool(queries) == (options.head is not None):
        raise UsageError("name either images to search for, or --head HEAD --class NAME")
    if options.index:
        require_usearch()
    rows = _choose(store, options)
    if options.head is not None:
        return [_search_class(store, rows, options, reporter)]
    output = store.find_output(options.output)
    candidates = Candidates(store, rows, output, options.reduce if output.spatial else WHOLE)
    answers, vectors = _resolve(candidates, queries, options, reporter)
    if len(vectors) == 0:
        return answers
    index = open_index(candidates, reporter) if options.index else None
    k = options.top + 1
    found = nearest(vectors, candidates.batches(reporter), k) if index is None else index.nearest(vectors, k)
    at = iter(zip(found.rows, found.cosines, strict=True))
    return [
        answer
        if answer.error is not None
        else replace(
            _with_matches(answer, *next(at), store, options.top), recall=None if index is None else index.recall
        )
        for answer in answers
    ]


def _with_matches(
    answer: Answer, rows: Positions, cosines: npt.NDArray[np.float32], store: FeatureStore, top: int
) -> Answer:
    """The answer with what was found, without the query itself."""
    paths = store.images()["path"]
    matches = [
        Match(row, float(min(cosine, 1.0)))
        for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True)
        if row != NO_ROW and not (answer.kind == ROW and paths[row].as_py() == answer.query)
    ]
    return Answer(answer.query, answer.kind, matches[:top])


def _choose(store: FeatureStore, options: SearchOptions) -> ImageRows:
    """The images that are searched.

    Raises:
        UsageError: there are none.
    """
    rows = select_images(store)
    if options.split is not None:
        rows = select_split(rows, options.split, store)
    if options.label is None:
        return rows
    asked = plain_label(options.label)
    labels = rows.table["label"].to_pylist()
    chosen = np.array([row for row, text in enumerate(labels) if asked in split_labels(text or "")], np.int64)
    if len(chosen) == 0:
        known = sorted({name for text in labels for name in split_labels(text or "")})
        shown = first_names(known, _SHOWN) or "no labels"
        raise UsageError(f"no image has the label {printable(options.label)!r}: there are {shown}")
    return pick(rows, chosen)


# Queries


def _resolve(
    candidates: Candidates, queries: Sequence[str], options: SearchOptions, reporter: Reporter
) -> tuple[list[Answer], npt.NDArray[np.float32]]:
    """For each query an answer without matches; and the features of those whose image is sound, in their order."""
    store = candidates.store
    row_of = {path: row for row, path in enumerate(store.images()["path"].to_pylist())}
    others = [name for query in queries if query not in row_of for name in _images(query, row_of)]
    read = _read(candidates, list(dict.fromkeys(others)), options.weights, reporter) if others else {}
    answers, vectors = list[Answer](), list[npt.NDArray[np.float32]]()
    for query in queries:
        if query in row_of:
            answers.append(Answer(query, ROW, []))
            vectors.append(_stored(candidates, row_of[query]))
            continue
        for name in _images(query, row_of):
            found = read[name]
            answers.append(Answer(name, IMAGE, [], found if isinstance(found, str) else None))
            vectors += [] if isinstance(found, str) else [found]
    empty = np.empty((0, 0), np.float32)
    return answers, np.stack(vectors) if vectors else empty


def _images(query: str, row_of: dict[str, int]) -> Sequence[str]:
    """The images that a path, folder or pattern stands for.

    Raises:
        UsageError: there is no such file, and no such row.
    """
    try:
        return take_images(query).names
    except UsageError as error:
        example = printable(next(iter(row_of)))
        raise UsageError(
            f"{printable(query)} is neither an image of the store, which has paths such as {example}, "
            f"nor a file: {error}"
        ) from error


def _stored(candidates: Candidates, row: int) -> npt.NDArray[np.float32]:
    store = candidates.store
    position = np.array([row * store.recipe.views])
    tensor, _ = next(store.passes(position, 1, None, candidates.output.name, 1))
    vector: npt.NDArray[np.float32] = reduce_tensor(tensor, candidates.reduction).astype(np.float32)[0]
    return vector


def _read(
    candidates: Candidates, names: Sequence[str], weights: str | os.PathLike[str] | None, reporter: Reporter
) -> dict[str, npt.NDArray[np.float32] | str]:
    """For each image file its features by the store's recipe, or what is wrong with it."""
    store, output = candidates.store, candidates.output
    found_in = store.folder.absolute if store.recipe.quantization is not None else file_path(weights_of(store))
    place = found_in if weights is None else os.fspath(weights)
    extractor = FeatureExtractor(store.recipe, (output,), place, reporter)
    found = dict[str, npt.NDArray[np.float32] | str]()
    for content in extractor.extract(names, reporter):
        vectors = reduce_tensor(content.shard.tensors[output.name], candidates.reduction).astype(np.float32)
        found.update(zip(content.shard.rows["path"].to_pylist(), vectors, strict=True))
        for failure in content.failures.to_pylist():
            found[failure["path"]] = f"{failure['code']}: {failure['message']}"
    return found


def _search_class(store: FeatureStore, rows: ImageRows, options: SearchOptions, reporter: Reporter) -> Answer:
    """The images of the highest probability of a head's class."""
    head = load_head(options.head or "")
    asked = options.class_name or ""
    number = head.info.task.position_of(asked)
    if number is None:
        shown = first_names(head.classes, _SHOWN) or "none, it predicts a number"
        raise UsageError(f"the head has no class {printable(asked)!r}: it has {shown}")
    if len(head.info.blocks) > 1:
        raise UsageError(
            f"the head joins {len(head.info.blocks)} columns of features, and a search reads one: use a head on one output"
        )
    (block,) = find_stored(head.info.blocks, [store])
    candidates = Candidates(store, rows, block.output, block.reduction)
    probabilities, positions = list[npt.NDArray[np.floating]](), list[Positions]()
    for values, part in candidates.batches(reporter):
        probabilities.append(head.predictor.predict_proba(values)[:, number])
        positions.append(part)
    scores, found = np.concatenate(probabilities), np.concatenate(positions)
    order = np.lexsort((found, -scores))[: options.top]
    return Answer(head.classes[number], CLASS, [Match(int(found[at]), float(scores[at])) for at in order])
