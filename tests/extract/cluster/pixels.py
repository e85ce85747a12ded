"""The options of a run that any machine computes in no time."""

PIXELS = {"backbone": "pixels", "image_size": (16, 16), "shard_rows": 4, "max_bad": 1}
