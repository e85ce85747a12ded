"""Reading and decoding: from an image's row name to the pixels of its views, or to the failure that it is."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from extract.bad_image import BadImage
from extract.images.augment import altered_views
from extract.images.decode import Decoded, DecodePolicy, decode
from extract.images.extras import refuse_raw
from extract.images.memory import BYTES_PER_DECODER, MemoryBudget
from extract.monitor import Clock
from extract.sources.reading import ImageFile, listed_status, read_image
from store.files.base import ReadableFiles
from store.image_records import Failure, Row
from store.known import KnownFeatures, KnownImage
from store.recipe import Augmentation


@dataclass(frozen=True)
class LoadedView:
    """One view of an image, ready to be computed: its pixels, and what its row will say about the source file."""

    row: Row
    decoded: Decoded
    view: int = 0


@dataclass(frozen=True)
class CopiedImage:
    """An image that needs neither decoding nor computing, because the store has its bytes under another name."""

    row: Row
    known: KnownImage


Loaded = list[LoadedView] | CopiedImage | Failure
"""The views of an image, the unaltered one first; or its features, if they are known; or why there are none."""


class ImageLoader:
    """Reads and decodes images; several threads call `load` at once.

    Args:
        files: where the images are.
        policy: how their bytes become pixels.
        augmentation: which altered views each image has; None for none.
        decoders: how many threads may decode at a time; more may wait for reads.
        known: features that the store has already.
    """

    def __init__(
        self,
        files: ReadableFiles,
        policy: DecodePolicy,
        augmentation: Augmentation | None,
        decoders: int,
        known: KnownFeatures | None = None,
    ) -> None:
        self.threads = max(decoders, files.concurrency)
        self.files = files
        self.limits = _DecodingLimits(decoders)
        self.pixels_of = (policy, augmentation)
        """What pixels depend on: loaders with equal `pixels_of` make the same pixels of a file."""
        self._policy = policy
        self._augmentation = augmentation
        self._known = known

    def load(self, path: str, clock: Clock) -> Loaded:
        """An image: its views, its features or a failure.

        Raises:
            EnvironmentFailure: the image cannot be read now, though nothing is wrong with the image itself.
        """
        source = _read(self.files, path, clock)
        return self.copied(path, source, clock) or self.decoded(path, source, self.limits, clock)

    def copied(self, path: str, source: ImageFile | Failure, clock: Clock) -> CopiedImage | None:
        """The features of a file that was read, if the store has them."""
        if self._known is None or isinstance(source, Failure):
            return None
        with clock.busy("read"):
            known = self._known.find(source.sha256)
        return CopiedImage(_row(path, source), known) if known else None

    def decoded(
        self, path: str, source: ImageFile | Failure, limits: "_DecodingLimits", clock: Clock
    ) -> list[LoadedView] | Failure:
        """The views of a file that was read, or why there are none."""
        if isinstance(source, Failure):
            return source
        try:
            with limits.turn, clock.busy("decode"):
                return self._views(path, source, limits.memory)
        except BadImage as error:
            return Failure(path, error.code, error.message, source.sha256, len(source.data), source.time)

    def _views(self, path: str, source: ImageFile, memory: MemoryBudget) -> list[LoadedView]:
        refuse_raw(path, source.data)
        decoded = decode(source.data, self._policy, memory)
        altered = altered_views(decoded.pixels, self._augmentation, source.sha256) if self._augmentation else []
        row = _row(path, source)
        views = [decoded, *(replace(decoded, pixels=pixels) for pixels in altered)]
        return [LoadedView(row, view, number) for number, view in enumerate(views)]


class SharedLoader:
    """Loads images of one place for several loaders: each is read once, and decoded once for those that decode alike.

    Args:
        loaders: of the same files.
        failures: images, by path, that are known to fail; they are not read.
    """

    def __init__(self, loaders: Sequence[ImageLoader], failures: Mapping[str, Failure] | None = None) -> None:
        self.threads = max(loader.threads for loader in loaders)
        self._loaders = loaders
        self._failures = failures or {}

    def load(self, path: str, needed: Sequence[int], clock: Clock) -> list[Loaded]:
        """An image as each of the loaders at these positions gives it; see `ImageLoader.load`."""
        if path in self._failures:
            return [self._failures[path]] * len(needed)
        source = _read(self._loaders[0].files, path, clock)
        decoded: dict[object, Loaded] = {}
        found: list[Loaded] = []
        for loader in (self._loaders[number] for number in needed):
            copied = loader.copied(path, source, clock)
            if copied is None and loader.pixels_of not in decoded:
                decoded[loader.pixels_of] = loader.decoded(path, source, self._loaders[0].limits, clock)
            found.append(copied or decoded[loader.pixels_of])
        return found


class _DecodingLimits:
    """How many threads decode at a time, and the memory that they take together."""

    def __init__(self, decoders: int) -> None:
        self.memory = MemoryBudget(decoders * BYTES_PER_DECODER)
        self.turn = threading.BoundedSemaphore(decoders)


def _read(files: ReadableFiles, path: str, clock: Clock) -> ImageFile | Failure:
    with clock.busy("read"):
        try:
            return read_image(files, path)
        except BadImage as error:
            return Failure(path, error.code, error.message, "", *listed_status(files, path))


def _row(path: str, source: ImageFile) -> Row:
    return Row(path, source.sha256, len(source.data), source.time)
