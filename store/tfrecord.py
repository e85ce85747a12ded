"""TFRecord files of tf.train.Example messages, written without TensorFlow.

Layout of the file: tensorflow/core/lib/io/record_writer.h. Messages: tensorflow/core/example/{example,feature}.proto.
"""

import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from store.recipe import Output
from store.tensors import Tensor

Value: TypeAlias = str | int | None
"""A value of a column."""


class ExampleWriter:
    """Writes examples to an open file, one per row: its columns, and the features as a float list in C order."""

    def __init__(self, file: BinaryIO, output: Output) -> None:
        self._file = file
        self._output = output
        self._example_type = _example_type()

    def write(self, row: Mapping[str, Value], values: Tensor) -> None:
        """Write one row; an absent text is written as an empty one."""
        example = self._example_type()
        for name, value in row.items():
            feature = example.features.feature[name]
            if isinstance(value, int):
                feature.int64_list.value.append(value)
            else:
                feature.bytes_list.value.append((value or "").encode())
        name = self._output.name
        example.features.feature[name].float_list.value.extend(np.ravel(values).astype(np.float32).tolist())
        example.features.feature[f"{name}_shape"].int64_list.value.extend(self._output.shape)
        data = example.SerializeToString()
        length = struct.pack("<Q", len(data))
        self._file.write(length + _masked_crc(length) + data + _masked_crc(data))


def _masked_crc(data: bytes) -> bytes:
    import google_crc32c

    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _example_type() -> Any:
    """The class of tf.train.Example messages, of the few fields that are needed."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="stillframe_example.proto", package="stillframe", syntax="proto3")
    for name, kind in (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    ):
        message = file.message_type.add(name=name)
        message.field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("bytes_list", "float_list", "int64_list"), start=1):
        list_type = "".join(part.capitalize() for part in name.split("_"))
        feature.field.add(
            name=name, number=number, type=field.TYPE_MESSAGE, type_name=f".stillframe.{list_type}",
            label=field.LABEL_OPTIONAL, oneof_index=0,
        )  # fmt: skip
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=field.TYPE_MESSAGE, type_name=".stillframe.Feature", label=field.LABEL_OPTIONAL
    )
    features.field.add(
        name="feature", number=1, type=field.TYPE_MESSAGE, type_name=".stillframe.Features.FeatureEntry",
        label=field.LABEL_REPEATED,
    )  # fmt: skip
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features", number=1, type=field.TYPE_MESSAGE, type_name=".stillframe.Features", label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("stillframe.Example"))
