"""The values that fields of a recipe can have. Nothing here imports a library, so that help stays quick."""

POOLINGS = ("none", "avg", "max")
RESIZES = ("bilinear", "nearest", "bicubic", "lanczos", "area")
CROPS = ("stretch", "center", "pad")
FLIPS = ("none", "horizontal", "vertical", "both")
STORED_DTYPES = ("float16", "float32")
COMPRESSIONS = ("zstd", "lz4", "none")
INT8 = "int8"
PRECISIONS = ("float32", "bfloat16", "float16", INT8)

MOST_PIXELS = 4_096
"""Of an image's height and width: networks take less, and libraries crash on far more."""

MOST_VIEWS = 1000
"""Altered views of an image."""

MOST_ALTERED = {"rotation": 180.0, "shift": 1.0, "shear": 1.0, "zoom": 0.9, "brightness": 1.0}
"""The ends of the ranges that altered views are drawn from."""
