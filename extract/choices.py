"""The values that options of this package can have. Nothing here imports a library, so that help stays quick.

Those that a recipe keeps are in `store.choices`.
"""

from store.choices import COMPRESSIONS, STORED_DTYPES

DTYPES = ("auto", *STORED_DTYPES)
RUNTIMES = ("auto", "keras", "openvino", "onnxruntime")
SHARD_FORMATS = ("auto", "hdf5", "parquet")
SHARD_COMPRESSIONS = ("auto", *COMPRESSIONS)
