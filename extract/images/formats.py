"""Opening an image file: which formats are decoded, and how many pixels they may take, before anything is allocated.

Everything that decodes goes through `open_image`. The formats are listed: a plug-in of Pillow that is not listed here
is never asked, neither one that starts a program (PostScript) nor one that opens another format by itself (IPTC, BLP,
FPX, MIC, and so on), which would get around the list and the limit.
"""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from extract.bad_image import BadImage
from extract.images import gif, icons, jpeg, jpeg2000, png, tiff
from extract.images.extras import open_with_extra

FORMATS = (
    "JPEG",  # and MPO, of which the first image is decoded
    "PNG",
    "GIF",
    "WEBP",
    "BMP",
    "DIB",
    "TIFF",
    "AVIF",
    "JPEG2000",
    "PPM",
    "TGA",
    "PCX",
    "ICO",
    "ICNS",
    "PSD",
    "SGI",
    "SUN",
    "DDS",
    "QOI",
    "XBM",
    "XPM",
)

_MOST_RUN_LENGTH_PIXELS = 16_000_000
"""Pillow decodes run-length encoded BMPs in Python: a few kilobytes could keep all threads waiting for half a minute."""

_UNKNOWN_TIFF = (
    "the TIFF is damaged, or its kind of pixels is not decoded: convert it to grey or RGB of 8 or 16 bits a sample"
)
_POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")


@dataclass(frozen=True)
class OpenedImage:
    """An image of which only the header has been read.

    Attributes:
        image: as Pillow knows it.
        data: the file's bytes; of an icon, those of the image inside.
        sealed: whether it is read from a `jpeg.sealed_jpeg`.
    """

    image: ImageFile.ImageFile
    data: bytes
    sealed: bool

    def load(self) -> None:
        """Decode the pixels.

        Raises:
            BadImage: corrupt.
            Exception: whatever Pillow raises on a damaged file.
        """
        try:
            self.image.load()
        except OSError as error:
            if self.sealed and is_truncated(error):
                raise BadImage("corrupt", "the JPEG is damaged: its pixel data ends before the image does") from None
            raise


def open_image(data: bytes, max_pixels: int) -> OpenedImage:
    """Read the header of an image, once what Pillow does not see in files of its format is checked.

    Raises:
        BadImage: not_an_image, too_many_pixels, truncated, unsupported_pixels, corrupt, needs_extra or
            unsupported_format.
        struct.error, IndexError: the file ends in its header.
        Exception: whatever Pillow raises on a damaged file.
    """
    data = icons.image_inside(data)
    if data.startswith(png.SIGNATURE):
        data = png.sound_png(data)
    sealed = None
    if data.startswith(jpeg.SIGNATURE):
        sealed = jpeg.sealed_jpeg(data)
        if sealed is None:
            jpeg.require_few_scans(data)
    return OpenedImage(_of_few_pixels(sealed or data, max_pixels), data, sealed is not None)


def is_truncated(error: Exception) -> bool:
    """Whether this is what Pillow raises where a file ends in the middle."""
    return "truncated" in str(error).lower() or isinstance(error, EOFError)


def _of_few_pixels(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """The image, if neither its header nor what is behind it says more than `max_pixels`."""
    if data.startswith(_POSTSCRIPT):
        raise BadImage("not_an_image", "PostScript is a program, not pixels: convert it to an image first")
    for width, height in _sizes_behind_the_header(data):
        require_few_pixels(width, height, max_pixels)
    if data.startswith(tiff.PREFIXES):
        tiff.require_few_pieces(data)
    image = open_with_extra(data) or _open(data)
    require_few_pixels(*image.size, max_pixels)
    if any(tile[0] == "bmp_rle" for tile in image.tile) and image.width * image.height > _MOST_RUN_LENGTH_PIXELS:
        raise BadImage("too_many_pixels", f"more than {_MOST_RUN_LENGTH_PIXELS:,} pixels in a run-length encoded BMP")
    if isinstance(image, TiffImageFile):
        require_few_pixels(*tiff.tile_size(image), max_pixels)
        tiff.prepare_tiff(image)
    return image


def _open(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data.startswith(tiff.PREFIXES):
            raise BadImage("unsupported_pixels", _UNKNOWN_TIFF) from None
        if not data.startswith(jpeg.SIGNATURE):
            raise
    try:
        return Image.open(BytesIO(jpeg.without_metadata(data)), formats=FORMATS)
    except UnidentifiedImageError:
        raise BadImage("corrupt", "the JPEG is damaged: its header cannot be read") from None


def require_few_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise BadImage if there are more than `max_pixels`."""
    if width * height > max_pixels:
        raise BadImage(
            "too_many_pixels",
            f"{width} x {height} is {width * height:,} pixels, more than --max-pixels {max_pixels:,}",
        )


def _sizes_behind_the_header(data: bytes) -> list[tuple[int, int]]:
    """Sizes (width, height) that decoders allocate, and that are not the one which Pillow reports or checks first."""
    if data.startswith(icons.ICO):
        return [icons.bitmap_size(data)]
    if data.startswith(gif.SIGNATURES):
        return [gif.first_frame_size(data)]
    if data.startswith(b"RIFF") and data[8:16] == b"WEBPVP8X" and len(data) >= 30:
        # Two canvases are allocated when the decoder is made. Extended format: WebP container specification.
        return [(1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))]
    if data.startswith(jpeg2000.SIGNATURES):
        return jpeg2000.codestream_sizes(data)
    return []
