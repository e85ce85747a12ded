"""From images to the features of a head's blocks: each image is decoded once for all recipes that make the same pixels."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from extract.api import SILENT, FeatureExtractor, Reporter, extract_with_all, same_pixels
from fit.head_info import Block
from store.errors import UsageError
from store.files.names import file_path, row_name
from store.recipe import Recipe
from store.tensors import Tensor

WeightsPlace: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
"""Where weights are now: of a head on several recipes, a place for each; None where they have not moved."""


def place_weights(blocks: Sequence[Block], weights: WeightsPlace) -> tuple[Block, ...]:
    """The blocks with the weights where they are now.

    Raises:
        UsageError: not as many places as the blocks have recipes.
    """
    places = [weights] if isinstance(weights, str | os.PathLike) else list(weights or ())
    if not places:
        return tuple(blocks)
    recipes = list(dict.fromkeys(block.recipe for block in blocks))
    if len(places) != len(recipes):
        raise UsageError(
            f"--weights names {len(places)} places, and the head has {len(recipes)} recipes: name one for each, in the "
            f"order {', '.join(recipe.backbone for recipe in recipes)}"
        )
    place_of = dict(zip(recipes, places, strict=True))
    return tuple(_placed(block, row_name(os.fspath(place_of[block.recipe]))) for block in blocks)


def _placed(block: Block, place: str) -> Block:
    return replace(block, weights=place) if block.recipe.quantization is None else replace(block, network=place)


def pixel_inputs(blocks: Sequence[Block]) -> list[list[int]]:
    """The numbers of the blocks by the pixels that they are computed from: those of the same pixels stand together."""
    groups: list[list[int]] = []
    for number, block in enumerate(blocks):
        for group in groups:
            if same_pixels(blocks[group[0]].recipe, block.recipe):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def networks(blocks: Sequence[Block], numbers: Sequence[int]) -> list[list[int]]:
    """Those numbers of blocks by the network that computes them: those of one recipe and place stand together."""
    found: dict[tuple[Recipe, str], list[int]] = {}
    for number in numbers:
        found.setdefault((blocks[number].recipe, blocks[number].place), []).append(number)
    return list(found.values())


@dataclass(frozen=True)
class BlockFeatures:
    """Features of some images.

    Attributes:
        paths: of those that have features.
        tensors: for each block, (paths, *shape) as a store would hold them.
        errors: by path, what is wrong with the others.
    """

    paths: Sequence[str]
    tensors: Sequence[Tensor]
    errors: Mapping[str, str]


class BlockExtractor:
    """The recipes of a head's blocks, with their networks loaded.

    Args:
        blocks: the head's, with the weights where they are now.
        reporter: shows that networks are being loaded.

    Raises:
        UsageError: there are no such weights.
        RecipeMismatch: the weights are not those of the recipe.
    """

    def __init__(self, blocks: Sequence[Block], reporter: Reporter = SILENT) -> None:
        self._count = len(blocks)
        self._groups = [_load_networks(blocks, numbers, reporter) for numbers in pixel_inputs(blocks)]

    def extract(
        self, paths: Sequence[str], reporter: Reporter = SILENT, pixels: Mapping[str, Image] | None = None
    ) -> Iterator[BlockFeatures]:
        """Features of image files and of images in memory, some hundred at a time; see `FeatureExtractor.extract`."""
        reporters = [reporter, *(SILENT for _ in self._groups[1:])]  # all passes are equally far
        passes = [
            extract_with_all(group, paths, shown, pixels) for group, shown in zip(self._groups, reporters, strict=True)
        ]
        for contents in zip(*passes, strict=True):
            errors = {
                failure["path"]: f"{failure['code']}: {failure['message']}"
                for content in contents
                for failure in content.failures.to_pylist()
            }
            found = [content.shard.rows["path"].to_pylist() for content in contents]
            tensors: list[Tensor] = [np.empty(0, np.float32)] * self._count
            for content, names in zip(contents, found, strict=True):
                sound = np.array([path not in errors for path in names], bool)
                for name, tensor in content.shard.tensors.items():
                    tensors[int(name)] = tensor if sound.all() else tensor[sound]
            yield BlockFeatures([path for path in found[0] if path not in errors], tensors, errors)

    def extract_pixels(self, pixels: Sequence[npt.NDArray[np.uint8]]) -> list[Tensor]:
        """For each block (rows, *shape), from pixels (rows, height, width, 3) for each group of `pixel_inputs`."""
        tensors: list[Tensor] = [np.empty(0, np.float32)] * self._count
        for group, given in zip(self._groups, pixels, strict=True):
            for extractor in group:
                for output, tensor in zip(extractor.outputs, extractor.extract_pixels(given), strict=True):
                    tensors[int(output.name)] = tensor
        return tensors


def _load_networks(blocks: Sequence[Block], numbers: Sequence[int], reporter: Reporter) -> list[FeatureExtractor]:
    """One for each network; its outputs are named by the numbers of their blocks."""
    loaded = []
    for members in networks(blocks, numbers):
        first = blocks[members[0]]
        outputs = [replace(blocks[number].output, name=str(number)) for number in members]
        loaded.append(FeatureExtractor(first.recipe, outputs, file_path(first.place), reporter))
    return loaded
