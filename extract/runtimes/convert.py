"""Converting Keras models for OpenVINO, and keeping the result in the cache folder.

openvino/<key>/model.xml, model.bin    the model; its key depends on what was converted and with which versions
openvino/<key>/sha256                  of both files: a damaged model is converted again and never computed with
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import EnvironmentFailure
from store.files.cache import cache_folder
from store.files.digest import sha256_of

if TYPE_CHECKING:
    import keras
    import openvino

_FORMAT = 2  # increased whenever the same identity is converted to another model


def model_key(identity: Mapping[str, object]) -> str:
    """SHA-256 of everything that determines a converted model: `identity`, and the versions that convert it.

    Args:
        identity: what determines the Keras model, as JSON can hold it.
    """
    everything = {
        **identity,
        "format": _FORMAT,
        "keras": version("keras"),
        "openvino": version("openvino"),
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def find_converted(key: str) -> Path | None:
    """The .xml file of a model that was converted before; None if there is none, or it is damaged."""
    folder = _folder(key)
    try:
        return folder / "model.xml" if (folder / "sha256").read_text() == _digest(folder) else None
    except OSError:
        return None


def convert(model: "keras.Model", key: str) -> Path:
    """Convert a Keras model on TensorFlow and keep the result; returns its .xml file.

    Raises:
        EnvironmentFailure: the cache folder cannot be written.
        Exception: OpenVINO cannot convert the model; it raises nearly any kind.
    """
    converted = _converted(model)
    folder = _folder(key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        written = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
        try:
            _save(converted, written)
            if find_converted(key) is None:  # otherwise another process was first, and may be reading it
                shutil.rmtree(folder, ignore_errors=True)
                with contextlib.suppress(OSError):
                    os.replace(written, folder)
        finally:
            shutil.rmtree(written, ignore_errors=True)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write the converted model to {folder.parent}: {error.strerror or error}; "
            "fix that, name another folder in STILLFRAME_CACHE, or use --runtime keras"
        ) from error
    return folder / "model.xml"


def _folder(key: str) -> Path:
    return cache_folder() / "openvino" / key


def _save(converted: "openvino.Model", folder: Path) -> None:
    import openvino

    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)
    (folder / "sha256").write_text(_digest(folder))


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for name in ("model.xml", "model.bin"):
        total.update(bytes.fromhex(sha256_of(folder / name)))
    return total.hexdigest()


def _converted(model: "keras.Model") -> "openvino.Model":
    import openvino
    import tensorflow as tf

    from extract.runtimes.attention import fuse_attention

    pixels = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, name="pixels")
    traced = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(pixels)
    converted = openvino.convert_model(traced)
    # Activations with a custom gradient (swish) become outputs too and would be computed and copied: EfficientNetB0 has
    # fifty of them and would take twice as long.
    results = [converted.output(tensor.name).get_node().input_value(0) for tensor in traced.outputs]
    whole = openvino.Model(results, converted.get_parameters(), "stillframe")
    fuse_attention(whole)
    return whole
