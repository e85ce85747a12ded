"""Small sound image files of every kind that is decoded: where the mutations of the fuzzer begin."""

import itertools
from io import BytesIO

import numpy as np
import tifffile
from PIL import Image

from tests.attacks.bombs import dib, encoded, icns, ico

WIDTH, HEIGHT = 24, 18
RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
RGBA = Image.merge("RGBA", [*RGB.split(), RGB.getchannel(0)])
GREY = RGB.getchannel(1)
PALETTE = RGB.quantize(7)
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)


def _pillow():
    exif = Image.Exif()
    exif[0x0112] = 6
    animation = {"save_all": True, "append_images": [RGB.rotate(180), RGB]}
    yield "png", encoded(RGB, "PNG", exif=exif)
    yield "png rgba", encoded(RGBA, "PNG")
    yield "png 16", encoded(DEEP, "PNG", transparency=7)
    yield "png palette", encoded(PALETTE, "PNG", transparency=b"\0\x80\xff")
    yield "png 1", encoded(GREY.convert("1"), "PNG")
    yield "apng", encoded(RGB, "PNG", **animation)
    yield "jpeg", encoded(RGB, "JPEG", exif=exif)
    yield "jpeg progressive", encoded(RGB, "JPEG", progressive=True, subsampling=0)
    yield "jpeg restarts", encoded(RGB, "JPEG", restart_marker_blocks=1)
    yield "jpeg cmyk", encoded(RGB.convert("CMYK"), "JPEG")
    yield "jpeg grey", encoded(GREY, "JPEG", optimize=True)
    yield "mpo", encoded(RGB, "MPO", **animation)
    yield "gif", encoded(PALETTE, "GIF", transparency=0, **animation)
    yield "webp", encoded(RGB, "WEBP", exif=exif)
    yield "webp lossless", encoded(RGBA, "WEBP", lossless=True)
    yield "webp animated", encoded(RGB, "WEBP", **animation)
    yield "avif", encoded(RGBA, "AVIF", speed=10)
    yield "jpeg 2000", encoded(RGB, "JPEG2000")
    yield "jpeg 2000 rgba", encoded(RGBA, "JPEG2000", irreversible=True, quality_layers=[20])
    yield "bmp", encoded(RGB, "BMP")
    yield "bmp palette", encoded(PALETTE, "BMP")
    yield "bmp rgba", encoded(RGBA, "BMP")
    yield "dib", encoded(RGB, "DIB")
    yield "ppm", encoded(RGB, "PPM")
    yield "pgm 16", b"P5 4 3 65535\n" + bytes(range(24))
    yield "pgm plain", b"P2 4 3 255\n" + b" ".join(b"%d" % level for level in range(12))
    yield "pbm", encoded(GREY.convert("1"), "PPM")
    yield "tga", encoded(RGBA, "TGA")
    yield "tga rle", encoded(PALETTE, "TGA", compression="tga_rle")
    yield "pcx", encoded(RGB, "PCX")
    yield "pcx palette", encoded(PALETTE, "PCX")
    yield "sgi", encoded(RGB, "SGI")
    yield "dds", encoded(RGBA, "DDS")
    yield "qoi", encoded(RGBA, "QOI")
    yield "xbm", encoded(GREY.convert("1"), "XBM")
    yield "ico png", encoded(RGBA, "ICO", sizes=[(16, 16)])
    yield "ico bitmap", encoded(RGBA, "ICO", sizes=[(16, 16)], bitmap_format="bmp")
    yield "ico by hand", ico(dib(16, 16))
    yield "icns", icns(encoded(RGBA, "PNG"))
    yield "icns jpeg 2000", icns(encoded(RGBA, "JPEG2000"), b"ic08")


def _tiff():
    kinds = (GREY, RGB, RGBA, PALETTE, DEEP, GREY.convert("1"), RGB.convert("CMYK"))
    for image, compression in itertools.product(kinds, ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")):
        yield f"tiff {image.mode} {compression}", encoded(image, "TIFF", compression=compression)
    yield "tiff jpeg", encoded(RGB, "TIFF", compression="jpeg")
    yield "tiff group 4", encoded(GREY.convert("1"), "TIFF", compression="group4")
    deep = np.random.default_rng(1).integers(0, 65536, (3, HEIGHT, WIDTH), dtype=np.uint16)
    for compression, tile in itertools.product((None, "zlib"), (None, (16, 16))):
        sink = BytesIO()
        tifffile.imwrite(sink, deep, photometric="rgb", planarconfig="separate", compression=compression, tile=tile)
        yield f"tiff planes {compression} {tile}", sink.getvalue()


def corpus():
    """Name -> file. The same in every process."""
    return dict([*_pillow(), *_tiff()])
