"""A .keras file as a backbone: looked into without Keras, and loaded without running anything that it brings.

The archive holds config.json, which describes layers, and model.weights.h5. Only layers of Keras itself are rebuilt from
the description; a Lambda, a layer of a package, or a function of one is refused before Keras sees it.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import EnvironmentFailure, UnsafeFile, UsageError
from store.files.disk import unreadable
from store.files.names import printable
from store.json_values import JsonObject, parse

if TYPE_CHECKING:
    import keras

_MOST_CONFIG = 2**26
_MOST_UNPACKED = 1.5  # archives of Keras are stored without compression
_MODELS = ("Functional", "Sequential", "Model")
_CODE = (
    "Lambda",
    "TFSMLayer",
    "TorchModuleWrapper",
    "FlaxLayer",
    "JaxLayer",
    "__lambda__",
    "function",
    "IndexLookup",
    "IntegerLookup",
    "StringLookup",
    "TextVectorization",
)
"""Classes of Keras' own that run code, or open files, which their description names."""

_PLAIN = re.compile(
    r"keras(\.src)?\.(layers|models|initializers|regularizers|constraints|activations|ops|dtype_policies)(\.[a-z]\w*)*"
)
_CLASS = re.compile(r"[A-Z]\w*|__(keras_tensor|numpy|tensor|ellipsis)__")
_TOP = ("Functional", "Sequential", "Model", "DTypePolicy", "FloatDTypePolicy")
"""What a description may take of the module `keras` itself."""


def read_keras_config(path: Path) -> JsonObject:
    """The description of a .keras file's model, checked.

    Raises:
        UsageError: it is not such a file.
        UnsafeFile: it could run code, or would unpack to far more than its size.
        EnvironmentFailure: it cannot be read now.
    """
    shown = printable(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > path.stat().st_size * _MOST_UNPACKED + 2**20:
                raise UnsafeFile(f"{shown} would unpack to {size:,} bytes: expected an archive as Keras writes it")
            if archive.getinfo("config.json").file_size > _MOST_CONFIG:
                raise UnsafeFile(f"{shown}: its config.json has more than {_MOST_CONFIG:,} bytes")
            config = parse(archive.read("config.json"), _MOST_CONFIG)
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{shown} is not a .keras file ({error}): expected what model.save wrote") from error
    except OSError as error:
        raise unreadable(error, path) from error
    config = {name: value for name, value in config.items() if name != "compile_config"}  # for training alone
    _require_plain(config, shown)
    return config


def default_layer(path: Path) -> str:
    """The layer whose output is the model's.

    Raises:
        UsageError: it has several outputs, or is not a model of layers; and see `read_keras_config`.
    """
    config = read_keras_config(path)
    shown, inner = printable(str(path)), config.get("config")
    if config.get("class_name") not in _MODELS or not isinstance(inner, dict):
        raise UsageError(
            f"{shown} holds {config.get('class_name')!r}: expected a Sequential or Functional model of Keras"
        )
    outputs = inner.get("output_layers")
    if outputs is None and isinstance(layers := inner.get("layers"), list) and layers:
        last = layers[-1]
        name = last.get("config", {}).get("name") if isinstance(last, dict) else None
        if isinstance(name, str):
            return name
    while isinstance(outputs, list) and len(outputs) == 1:
        outputs = outputs[0]
    if isinstance(outputs, list) and outputs and isinstance(outputs[0], str):
        return outputs[0]
    raise UsageError(f"{shown} has several outputs: say with --layer which one")


def load_keras_file(path: Path) -> "keras.Model":
    """The model of a .keras file.

    Raises:
        UsageError: it cannot be rebuilt; and see `read_keras_config`.
    """
    import keras

    from extract.backbones.weights_file import require_plain_weights

    config = read_keras_config(path)
    require_plain_weights(path)
    shown = printable(str(path))
    try:
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        model.load_weights(path)
    except EnvironmentFailure:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise UsageError(f"{shown} cannot be loaded ({reason}): save it again with this version of Keras") from error
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4 or model.inputs[0].shape[-1] != 3:
        raise UsageError(
            f"{shown} takes {[tuple(tensor.shape) for tensor in model.inputs]}: expected one input of batch, height, width "
            "and three channels"
        )
    if not isinstance(model, keras.Sequential):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)  # it has no input before it is called


def _require_plain(config: JsonObject, shown: str) -> None:
    """Raise UnsafeFile unless every object of a description is one of Keras itself that runs nothing else."""
    for value in _objects(config):
        module, name, registered = (value.get(key) for key in ("module", "class_name", "registered_name"))
        if name in _CODE or (isinstance(registered, str) and ">" in registered and not registered.startswith("keras")):
            raise UnsafeFile(
                f"{shown} holds {name!r}, which runs code or opens files that the model names: it is never loaded"
            )
        plain = module in (None, "builtins") or (module == "keras" and name in _TOP)
        plain = plain or (isinstance(module, str) and _PLAIN.fullmatch(module) is not None)
        if not plain or not isinstance(name, str) or _CLASS.fullmatch(name) is None:
            raise UnsafeFile(
                f"{shown} holds {printable(str(name))!r} of {printable(str(module))!r}: expected layers of Keras itself; its "
                "module is never imported"
            )


def _objects(value: object) -> Iterator[JsonObject]:
    """Every object of a description that names a class, however deep."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                yield item
            pending += item.values()
        elif isinstance(item, list):
            pending += item
