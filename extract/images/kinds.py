"""What a file is, by its content: for messages about files that are not images, and for images that need an extra."""

HEIF = "a HEIC photo"
JPEG_XL = "a JPEG XL image"
RAW = "a camera RAW photo"

_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
TIFF = (b"II*\0", b"MM\0*")
"""How TIFF files begin, and most camera RAW files."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")

_STARTS = {
    b"\xff\x0a": JPEG_XL,
    b"\0\0\0\x0cJXL \r\n\x87\n": JPEG_XL,
    b"FUJIFILMCCD-RAW": RAW,
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"MMOR": RAW,
    b"IIU\0": RAW,
    b"\xff\xd8": "a damaged JPEG",
    b"%PDF": "a PDF",
    b"%!PS": "a PostScript file",
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\xd0\xcf\x11\xe0": "an old Office document or a Thumbs.db",
    b"\x1aE\xdf\xa3": "a Matroska or WebM video",
    b"\0\0\x01\xba": "an MPEG video",
    b"ID3": "an MP3 file",
    b"OggS": "an Ogg file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
    b"\x76\x2f\x31\x01": "an OpenEXR image",
    b"#?RADIANCE": "a Radiance HDR image",
    b"SIMPLE  =": "a FITS file",
    b"gimp xcf": "a GIMP file",
    b"AT&TFORM": "a DjVu document",
    b"\x7fELF": "a program",
    b"MZ": "a Windows program",
    b"\0\x05\x16\x07": "what macOS keeps beside a file (AppleDouble)",
    b"version https://git-lfs": "a Git LFS pointer, not the file: run `git lfs pull`",
    b"/annex/objects": "a git-annex pointer, not the file: run `git annex get`",
}


def kind_of(data: bytes) -> str:
    """What the content is, as a noun with its article; empty if it is nothing known."""
    if data[4:8] == b"ftyp":
        return _of_brands(data)
    if data[:4] in TIFF:
        return RAW if data[8:10] == b"CR" else "a damaged TIFF"
    if data[:4] == b"RIFF":
        return {b"WAVE": "a WAV file", b"AVI ": "an AVI video", b"WEBP": "a damaged WebP"}.get(
            data[8:12], "a RIFF file"
        )
    if data[128:132] == b"DICM":
        return "a DICOM image"
    for start, kind in _STARTS.items():
        if data.startswith(start):
            return kind
    return _of_text(data)


def _of_brands(data: bytes) -> str:
    """The kind of an ISO base media file (ISO/IEC 14496-12, section 4.3): its major brand, a version, compatible brands."""
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12], *(data[start : start + 4] for start in range(16, size, 4))}
    if brands & _AVIF_BRANDS:
        return "an AVIF photo"
    if brands & _HEIF_BRANDS:
        return HEIF
    return RAW if data[8:12] == b"crx " else "a video"


def _of_text(data: bytes) -> str:
    start = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"<":
        head = start.lower()
        if b"<svg" in head:
            return "an SVG drawing, not pixels: convert it to PNG first"
        return "an HTML page" if b"<!doctype html" in head or b"<html" in head else "an XML file"
    if not data.strip(b"\0"):
        return "nothing but zero bytes"
    if data[:2] in _UTF16:
        return "a text file"
    try:
        text = data[:512].decode("utf-8") if len(data) <= 512 else data[:512].decode("utf-8", errors="ignore")
    except UnicodeDecodeError:
        return ""
    control = any(ord(character) < 32 and character not in "\t\n\r\f\x1b" for character in text)
    damaged = len(text.encode()) < len(data[:512]) - 3  # `ignore` has left out more than a character that is cut
    return "" if control or damaged else "a text file"
