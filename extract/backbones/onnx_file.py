"""What an ONNX file says about itself, read without running or trusting it: inputs, outputs, and files beside it.

Only the structure of the protocol buffer is read, no weights: field numbers are those of onnx/onnx.proto. A library gets
the file only after this, so that a file never makes it read outside of the model's folder, or claim tensors that the file
does not hold.
"""

import hashlib
import math
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from store.errors import UnsafeFile, UsageError
from store.files.digest import require_sha256
from store.files.disk import unreadable
from store.files.names import printable

_DEEPEST = 32  # graphs in branches of graphs
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_ENTRIES = 2_000_000
_MOST_DIMS_BYTES = 1_000

# Fields of onnx.proto, by message.
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_NODE_ATTRIBUTE, _FUNCTION_NODE = 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = 5, 6, 10, 11, 22
_ATTRIBUTE_SPARSES = 23
_TENSOR_DIMS, _TENSOR_NAME, _TENSOR_EXTERNAL = 1, 8, 13

Span = tuple[int, int]


@dataclass(frozen=True)
class Port:
    """An input or an output of a model: its axes are numbers, or None where the file leaves them open."""

    name: str
    shape: tuple[int | None, ...] | None

    @property
    def shown(self) -> str:
        """Name and shape for messages, such as `last_hidden_state (?, 257, 384)`."""
        if self.shape is None:
            return f"{self.name} (of unknown shape)"
        return f"{self.name} ({', '.join('?' if axis is None else str(axis) for axis in self.shape)})"


@dataclass(frozen=True)
class OnnxFile:
    """A checked file: its inputs that are not weights, its outputs, and the files with weights beside it."""

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    beside: tuple[Path, ...]

    def digest(self) -> str:
        """SHA-256 of the file; with weights in other files, of the digests of all of them."""
        digests = [require_sha256(path) for path in (self.path, *self.beside)]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def read_onnx_file(path: Path) -> OnnxFile:
    """Read and check a file.

    Raises:
        UsageError: it is not an ONNX model.
        UnsafeFile: it names weights outside of its folder, or tensors that it does not hold.
        EnvironmentFailure: it cannot be read now.
    """
    if not path.is_file():
        raise UsageError(f"{printable(str(path))} is not a file: expected an ONNX model")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            reader = _Reader(data, path)
            reader.model()
    except OSError as error:
        raise unreadable(error, path) from error
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{printable(str(path))} is not an ONNX model, or is cut short ({error})") from error
    if not reader.outputs:
        raise UsageError(f"{printable(str(path))} is not an ONNX model: it has no outputs")
    inputs = tuple(port for port in reader.inputs if port.name not in reader.initializers)
    return OnnxFile(path, inputs, tuple(reader.outputs), tuple(sorted(reader.beside)))


@dataclass
class _Reader:
    """Walks a file's messages; what it finds is in its fields."""

    data: mmap.mmap
    path: Path
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)
    beside: set[Path] = field(default_factory=set)
    _entries: int = 0

    def model(self) -> None:
        for number, _, value in self._fields((0, len(self.data))):
            if number == _MODEL_GRAPH:
                self._graph(_span(value), 0, top=True)
            elif number == _MODEL_FUNCTIONS:
                for inner, _, node in self._fields(_span(value)):
                    if inner == _FUNCTION_NODE:
                        self._node(_span(node), 1)
            elif number == _MODEL_TRAINING:
                raise UnsafeFile(
                    f"{printable(str(self.path))} holds a training program: export the model for inference"
                )

    def _graph(self, span: Span, depth: int, top: bool = False) -> None:
        if depth > _DEEPEST:
            raise UnsafeFile(f"{printable(str(self.path))} has graphs in graphs, more than {_DEEPEST} deep")
        for number, _, value in self._fields(span):
            if number == _GRAPH_NODE:
                self._node(_span(value), depth)
            elif number == _GRAPH_INITIALIZER:
                self.initializers.add(self._tensor(_span(value)))
            elif number == _GRAPH_SPARSE:
                self._sparse(_span(value))
            elif number == _GRAPH_INPUT and top:
                self.inputs.append(self._port(_span(value)))
            elif number == _GRAPH_OUTPUT and top:
                self.outputs.append(self._port(_span(value)))

    def _node(self, span: Span, depth: int) -> None:
        for number, _, value in self._fields(span):
            if number != _NODE_ATTRIBUTE:
                continue
            for inner, _, content in self._fields(_span(value)):
                if inner in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                    self._tensor(_span(content))
                elif inner in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                    self._graph(_span(content), depth + 1)
                elif inner in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
                    self._sparse(_span(content))

    def _sparse(self, span: Span) -> None:
        for number, _, value in self._fields(span):
            if number in (1, 2):  # values and indices
                self._tensor(_span(value))

    def _tensor(self, span: Span) -> str:
        """Check a tensor and give its name."""
        name, elements, available = "", 1, span[1] - span[0]
        external: dict[str, str] = {}
        for number, wire, value in self._fields(span):
            if number == _TENSOR_DIMS:
                axes = self._packed(_span(value)) if wire == _BYTES else [_whole(value)]
                elements *= math.prod(axes)
            elif number == _TENSOR_NAME:
                name = self._text(_span(value))
            elif number == _TENSOR_EXTERNAL:
                entry = {inner: self._text(_span(content)) for inner, _, content in self._fields(_span(value))}
                external[entry.get(1, "")] = entry.get(2, "")
        if external:
            available = self._external(external, name)
        if elements > 2 * available:  # the smallest elements have four bits
            raise UnsafeFile(
                f"{printable(str(self.path))}: the tensor {printable(name)!r} claims {elements:,} elements, and the file has "
                f"{available:,} bytes of it: it is damaged or made to do harm"
            )
        return name

    def _external(self, external: dict[str, str], name: str) -> int:
        """The bytes that a tensor has in a file beside the model."""
        location = external.get("location", "")
        folder = os.path.realpath(self.path.parent)
        place = os.path.realpath(os.path.join(folder, location.replace("\0", "")))
        parts = location.replace("\\", "/").split("/")
        inside = not os.path.isabs(location) and ".." not in parts and os.path.commonpath([folder, place]) == folder
        if not location or "\0" in location or not inside:
            raise UnsafeFile(
                f"{printable(str(self.path))} keeps the tensor {printable(name)!r} in {printable(location)!r}, outside of its "
                "folder, which is never read: put the model and its weights into one folder, without links"
            )
        if not os.path.isfile(place):
            raise UsageError(
                f"{printable(str(self.path))} keeps its weights in {printable(location)}, which is not in its folder: copy "
                "that file there too"
            )
        self.beside.add(Path(folder, location))
        size, offset = os.path.getsize(place), int(external.get("offset") or 0)
        length = int(external.get("length") or max(0, size - offset))
        if offset < 0 or length < 0 or offset + length > size:
            raise UsageError(f"{printable(location)} is cut short: {printable(name)!r} ends behind its {size:,} bytes")
        return length

    def _port(self, span: Span) -> Port:
        """ValueInfoProto: its name, and the shape of its TypeProto.Tensor."""
        name, shape = "", None
        for number, _, value in self._fields(span):
            if number == 1:
                name = self._text(_span(value))
            elif number == 2:
                shape = self._shape(_span(value))
        return Port(name, shape)

    def _shape(self, span: Span) -> tuple[int | None, ...] | None:
        for path in (1, 2):  # TypeProto.tensor_type, Tensor.shape
            inner = [value for number, _, value in self._fields(span) if number == path]
            if not inner:
                return None
            span = _span(inner[-1])
        axes: list[int | None] = []
        for number, _, value in self._fields(span):
            if number == 1:
                sizes = [_whole(size) for inner, wire, size in self._fields(_span(value)) if (inner, wire) == (1, 0)]
                axes.append(sizes[-1] if sizes and sizes[-1] > 0 else None)
        return tuple(axes)

    def _fields(self, span: Span) -> Iterator[tuple[int, int, int | Span]]:
        """Number, wire type and value of each field of a message; a value of bytes is where they are."""
        at, end = span
        while at < end:
            self._entries += 1
            if self._entries > _MOST_ENTRIES:
                raise ValueError(f"it has more than {_MOST_ENTRIES:,} entries")
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            value: int | Span
            if wire == _VARINT:
                value, at = self._varint(at, end)
            elif wire == _BYTES:
                length, at = self._varint(at, end)
                value, at = (at, at + length), at + length
            elif wire in (_FIXED32, _FIXED64):
                size = 4 if wire == _FIXED32 else 8
                value, at = (at, at + size), at + size
            else:
                raise ValueError(f"wire type {wire} at byte {at}")
            if at > end:
                raise ValueError(f"an entry ends at byte {at}, behind its message's {end}")
            yield number, wire, value

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise ValueError(f"it ends in the middle, at byte {at}")
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise ValueError(f"a number without an end at byte {at}")

    def _packed(self, span: Span) -> list[int]:
        if span[1] - span[0] > _MOST_DIMS_BYTES:
            raise ValueError(f"a shape of {span[1] - span[0]:,} bytes")
        at, found = span[0], []
        while at < span[1]:
            value, at = self._varint(at, span[1])
            found.append(value)
        return found

    def _text(self, span: Span) -> str:
        return self.data[span[0] : span[1]].decode()


def _span(value: int | Span) -> Span:
    if isinstance(value, int):
        raise ValueError("a number where a message is expected")
    return value


def _whole(value: int | Span) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number is expected")
    return value
