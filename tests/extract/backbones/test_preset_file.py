"""The weights file of a preset: equal arrays give equal digests, and an array of other things than numbers is refused."""

import h5py
import ml_dtypes
import numpy as np
import pytest

from extract.backbones.preset_file import count_arrays, hash_arrays
from store.errors import UsageError


@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16, "int8", "uint32", "bool"])
def test_the_digest_is_that_of_the_numbers(tmp_path, dtype):
    digests = []
    for values in ([0, 1], [0, 1], [1, 0]):
        with h5py.File(path := tmp_path / "model.weights.h5", "w") as file:
            file["layers/dense/vars/0"] = np.array(values, dtype)
        digests.append(hash_arrays(path))
    assert digests[0] == digests[1] != digests[2]
    assert count_arrays(path) == 2


@pytest.mark.parametrize(
    "dtype",
    [h5py.string_dtype(), "S4", np.dtype([("number", "f4"), ("text", h5py.string_dtype())]), h5py.ref_dtype],
    ids=["text of any length", "text", "text in a table", "a reference"],
)
def test_an_array_of_other_things_is_refused(tmp_path, dtype):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", (2,), dtype)
    for read in (hash_arrays, count_arrays):
        with pytest.raises(UsageError, match=r"expected numbers in layers/dense/vars/0"):
            read(path)
