"""The values that options of this room can have. Nothing here imports a library, so that help stays quick."""

POOLINGS = ("none", "avg", "max")
RESIZES = ("bilinear", "nearest", "bicubic", "lanczos", "area")
CROPS = ("stretch", "center", "pad")
FLIPS = ("none", "horizontal", "vertical", "both")
DTYPES = ("auto", "float16", "float32")
PRECISIONS = ("float32", "bfloat16", "float16")
RUNTIMES = ("auto", "keras", "openvino")
SHARD_FORMATS = ("auto", "hdf5", "parquet")
