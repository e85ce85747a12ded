"""PyTorch's legacy files, hand-made here: what is read, and that nothing in them is run."""

import io
import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.backbones.torch_file import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C
ENDINGS = {"FloatStorage": "<f4", "LongStorage": "<i8", "HalfStorage": "<f2"}


class Named:
    """Pickled as a global of another module, as `torch.FloatStorage` is."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Tensor:
    """Pickled as a call of `torch._utils._rebuild_tensor_v2`."""

    def __init__(self, key, kind, count, offset, shape, strides):
        self.key, self.kind, self.count = key, kind, count
        self.place = (offset, shape, strides)


class _Pickler(pickle._Pickler):
    """The pickler in Python, so that it can write the names of modules that are not installed."""

    def persistent_id(self, value):
        if isinstance(value, tuple) and value[:1] == ("storage",):
            return value
        return None

    def save_named(self, value):
        self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())

    def save_tensor(self, value):
        self.save_named(Named("torch._utils", "_rebuild_tensor_v2"))
        storage = ("storage", Named("torch", value.kind), value.key, "cpu", value.count)
        self.save((storage, *value.place, False, OrderedDict()))
        self.write(pickle.REDUCE)

    dispatch = pickle._Pickler.dispatch | {Named: save_named, Tensor: save_tensor}


def pickled(value):
    sink = io.BytesIO()
    _Pickler(sink, protocol=2).dump(value)
    return sink.getvalue()


def legacy_file(tensors, storages, magic=MAGIC):
    """`tensors`: name -> Tensor; `storages`: key -> (kind, values)."""
    parts = [pickled(magic), pickled(1001), pickled({"little_endian": True})]
    parts += [pickled(OrderedDict(tensors)), pickled(list(storages))]
    for kind, values in storages.values():
        parts += [struct.pack("<q", len(values)), np.asarray(values, ENDINGS[kind]).tobytes()]
    return b"".join(parts)


SIX = {"0": ("FloatStorage", range(6))}


def six(offset, shape, strides):
    return legacy_file({"w": Tensor("0", "FloatStorage", 6, offset, shape, strides)}, SIX)


def test_tensors_come_by_name_in_order_with_their_types():
    tensors = {
        "b.weight": Tensor("7", "FloatStorage", 6, 0, (2, 3), (3, 1)),
        "a.count": Tensor("8", "LongStorage", 1, 0, (), ()),
    }
    state = read_state_dict(legacy_file(tensors, {"8": ("LongStorage", [41]), "7": ("FloatStorage", range(6))}))
    assert list(state) == ["b.weight", "a.count"]
    assert np.array_equal(state["b.weight"], np.arange(6, dtype=np.float32).reshape(2, 3))
    assert (state["b.weight"].dtype, state["a.count"].dtype) == (np.float32, np.int64)
    assert state["a.count"] == 41


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "expected"),
    [
        (0, (2, 3), (3, 1), [[0, 1, 2], [3, 4, 5]]),
        (0, (3, 2), (1, 3), [[0, 3], [1, 4], [2, 5]]),
        (2, (2,), (1,), [2, 3]),
        (0, (2, 2), (0, 1), [[0, 1], [0, 1]]),
        (5, (), (), 5),
    ],
)
def test_offset_and_strides_count_elements(offset, shape, strides, expected):
    assert read_state_dict(six(offset, shape, strides))["w"].tolist() == expected


def test_tensors_may_share_a_storage():
    tensors = {
        "first": Tensor("0", "FloatStorage", 6, 0, (3,), (1,)),
        "last": Tensor("0", "FloatStorage", 6, 3, (3,), (1,)),
    }
    state = read_state_dict(legacy_file(tensors, SIX))
    assert (state["first"].tolist(), state["last"].tolist()) == ([0, 1, 2], [3, 4, 5])


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (7,), (1,)), (4, (3,), (1,)), (0, (2, 3), (4, 1)), (-1, (2,), (1,)), (5, (2,), (-1,)), (0, (0,), (1,))],
)
def test_a_tensor_outside_its_storage_is_refused(offset, shape, strides):
    with pytest.raises(ValueError, match="outside its storage"):
        read_state_dict(six(offset, shape, strides))


class Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("position", range(5))
def test_a_pickle_that_names_anything_else_is_refused_and_not_run(tmp_path, position):
    target = str(tmp_path / "attacked")
    parts = [pickled(MAGIC), pickled(1001), pickled({}), pickled(OrderedDict()), pickled([])]
    parts[position] = pickle.dumps(Attack(target), 2)
    with pytest.raises(ValueError, match="mkdir is not allowed"):
        read_state_dict(b"".join(parts))
    assert not os.path.exists(target)


def test_another_type_of_storage_is_refused():
    half = legacy_file({"w": Tensor("0", "HalfStorage", 1, 0, (1,), (1,))}, {"0": ("HalfStorage", [1])})
    with pytest.raises(ValueError, match=r"torch\.HalfStorage is not allowed"):
        read_state_dict(half)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 the newer format is a zip file",
        b"plain text",
        legacy_file({}, {}, magic=1),
        pickled(MAGIC),
        pickled(MAGIC) + pickled(1001) + pickled({}) + pickled([1, 2]) + pickled([]),
        pickled(MAGIC) + pickled(1001) + pickled({}) + pickled({"w": 3}) + pickled([]),
        pickled(MAGIC) + pickled(1001) + pickled({}) + pickled(OrderedDict()) + pickled(["no such storage"]),
    ],
    ids=["empty", "zip", "text", "magic", "short", "list", "number", "key"],
)
def test_any_other_file_is_refused(data):
    with pytest.raises(ValueError, match="PyTorch"):
        read_state_dict(data)


WHOLE = six(0, (2, 3), (3, 1))


@pytest.mark.parametrize("missing", [1, 4, 24, 30, len(WHOLE) // 2])
def test_a_file_that_ends_early_is_refused(missing):
    with pytest.raises(ValueError, match="PyTorch"):
        read_state_dict(WHOLE[:-missing])


def test_a_pickle_that_numbers_its_objects_by_the_billion_is_refused_before_memory_is_taken():
    at = WHOLE.index(b"q", WHOLE.index(b"ccollections"))  # BINPUT, whose number is one byte; of LONG_BINPUT it has four
    with pytest.raises(ValueError, match=r"a pickle of object [0-9]{9,}: expected 1,048,576 at most"):
        read_state_dict(WHOLE[:at] + b"r" + (2**31).to_bytes(4, "little") + WHOLE[at + 2 :])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(position, change):
    data = bytearray(WHOLE)
    data[position] ^= change
    try:
        read_state_dict(bytes(data))
    except ValueError:
        return
