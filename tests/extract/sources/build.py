"""Tables of images, as users write them."""

import pyarrow as pa
import pyarrow.parquet as pq


def table(folder, content, name="table.csv"):
    """Write CSV text or bytes, or columns as Parquet; returns the path."""
    path = folder / name
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
