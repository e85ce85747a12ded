"""Reading and decoding: from an image's row name to the pixels of its views, or to the failure that it is."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from extract.bad_image import BadImage
from extract.clock import Clock
from extract.images.augment import altered_views
from extract.images.decode import Decoded, DecodePolicy, decode
from extract.images.extras import refuse_raw
from extract.images.memory import BYTES_PER_DECODER, MemoryBudget
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


class ImageLoader:
    """Reads and decodes images; several threads call `load` at once.

    Args:
        files: where the images are.
        policy: how their bytes become pixels.
        augmentation: which altered views each image has; None for none.
        decoders: how many threads may decode at a time; more may wait for reads.
        failures: images, by path, that are known to fail; they are not read.
        known: features that the store has already.
    """

    def __init__(
        self,
        files: ReadableFiles,
        policy: DecodePolicy,
        augmentation: Augmentation | None,
        decoders: int,
        failures: Mapping[str, Failure] | None = None,
        known: KnownFeatures | None = None,
    ) -> None:
        self.threads = max(decoders, files.concurrency)
        self._files = files
        self._policy = policy
        self._augmentation = augmentation
        self._failures = failures or {}
        self._known = known
        self._decoding = threading.BoundedSemaphore(decoders)
        self._memory = MemoryBudget(decoders * BYTES_PER_DECODER)

    def load(self, path: str, clock: Clock) -> list[LoadedView] | CopiedImage | Failure:
        """The views of an image, the unaltered one first; or its features, if they are known; or why there are none.

        Raises:
            EnvironmentFailure: the image cannot be read now, though nothing is wrong with the image itself.
        """
        if path in self._failures:
            return self._failures[path]
        source = None
        try:
            with clock.busy("read"):
                source = read_image(self._files, path)
                if self._known and (known := self._known.find(source.sha256)):
                    return CopiedImage(_row(path, source), known)
            with self._decoding, clock.busy("decode"):
                return self._views(path, source)
        except BadImage as error:
            if source is not None:
                return Failure(path, error.code, error.message, source.sha256, len(source.data), source.time)
            return Failure(path, error.code, error.message, "", *listed_status(self._files, path))

    def _views(self, path: str, source: ImageFile) -> list[LoadedView]:
        refuse_raw(path, source.data)
        decoded = decode(source.data, self._policy, self._memory)
        altered = altered_views(decoded.pixels, self._augmentation, source.sha256) if self._augmentation else []
        row = _row(path, source)
        views = [decoded, *(replace(decoded, pixels=pixels) for pixels in altered)]
        return [LoadedView(row, view, number) for number, view in enumerate(views)]


def _row(path: str, source: ImageFile) -> Row:
    return Row(path, source.sha256, len(source.data), source.time)
