"""Images that are each named by a path or a URL of their own, as `fit predict` and `extract classify` take them."""

import io
from collections.abc import Iterator, Mapping, Sequence

from PIL import Image, ImageOps

from extract.bad_image import BadImage
from store.files.base import FileStatus, ReadableFiles
from store.files.names import file_path, is_url
from store.files.opening import open_files

_IN_PNG = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
_IN_TIFF = ("I", "F")  # 32 bits a sample, which decoding refuses in every file


class NamedFiles(ReadableFiles):
    """Files named by paths relative to the working directory, or by URLs; or images in memory.

    Args:
        names: their row names.
        pixels: by name, images that are in memory.
    """

    def __init__(self, names: Sequence[str], pixels: Mapping[str, Image.Image] | None = None) -> None:
        self._pixels = pixels or {}
        self._names = [file_path(name) for name in names]
        self._here = open_files("")
        self._remote = {root: open_files(root) for root in {_split(name)[0] for name in self._names if is_url(name)}}
        self.concurrency = max(files.concurrency for files in (self._here, *self._remote.values()))

    @property
    def absolute(self) -> str:
        """See ReadableFiles; the working directory, for paths."""
        return self._here.absolute

    def exists(self) -> bool:
        """See ReadableFiles."""
        return True

    def place(self, name: str) -> str:
        """See ReadableFiles."""
        return name

    def status(self, name: str) -> FileStatus | None:
        """See ReadableFiles."""
        files, base = self._find(name)
        return files.status(base)

    def read(self, name: str) -> bytes:
        """See ReadableFiles; an image in memory as a file."""
        if name in self._pixels:
            return _file_of(self._pixels[name])
        files, base = self._find(name)
        return files.read(base)

    def walk(self) -> Iterator[tuple[str, FileStatus | None]]:
        """See ReadableFiles; the files in the order of their names given."""
        for name in self._names:
            yield name, self.status(name)

    def _find(self, name: str) -> tuple[ReadableFiles, str]:
        if not is_url(name):
            return self._here, name
        root, base = _split(name)
        return self._remote[root], base


def _split(url: str) -> tuple[str, str]:
    root, _, base = url.rpartition("/")
    return root, base


def _file_of(image: Image.Image) -> bytes:
    """The pixels as a PNG or TIFF file, which keeps them as they are; EXIF orientation is applied.

    Raises:
        BadImage: Pillow cannot read them.
    """
    file = io.BytesIO()
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in _IN_TIFF:
            upright.save(file, "tiff", compression="raw")  # not that of the file it came from, which may lose or refuse
        else:
            _for_png(upright).save(file, "png", compress_level=0, icc_profile=None)
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage("corrupt", f"Pillow cannot read it: {error}") from error
    return file.getvalue()


def _for_png(image: Image.Image) -> Image.Image:
    """The image in a mode that PNG has."""
    if image.mode in _IN_PNG:
        return image
    if image.mode.startswith("I;16"):
        return image.convert("I").convert("I;16")  # through I: from one order of bytes to another, Pillow clips
    if image.mode == "La":
        return image.convert("LA")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
