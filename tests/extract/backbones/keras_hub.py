"""Folders whose networks keras-hub builds, and presets that it has written."""

import importlib.util
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.extract.backbones.networks import FOLDER

FAMILIES = ("vit", "deit", "dinov2", "dinov2_with_registers", "dinov3", "clip", "siglip", "swin")

needs_keras_hub = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("keras_hub", "safetensors")),
    reason="keras-hub is not installed: pip install 'stillframe[hub]'",
)


def weights_folder(name: str, to: Path) -> Path:
    """A copy of a network's folder that has its weights, and no ONNX model."""
    to.mkdir(parents=True)
    for file in ("config.json", "preprocessor_config.json", "model.safetensors"):
        shutil.copy(FOLDER / name / file, to)
    return to


def change_config(folder: Path, **values: object) -> Path:
    """Give config.json other values; None removes one."""
    config = json.loads((folder / "config.json").read_text())
    changed = {name: value for name, value in {**config, **values}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(changed))
    return folder


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file of float32 numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = (start + place for place in entry["data_offsets"])
            found[name] = np.frombuffer(data[first:last], "<f4").reshape(entry["shape"])
    return found


def write_arrays(path: Path, arrays: dict[str, np.ndarray], **header: object) -> None:
    """A safetensors file; `header` has entries that replace those of the arrays."""
    types = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64", "float64": "F64"}
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, array in arrays.items():
        end = place + array.nbytes
        entries[name] = {"dtype": types[str(array.dtype)], "shape": list(array.shape), "data_offsets": [place, end]}
        place = end
    encoded = json.dumps({**entries, **header}).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(
        len(encoded).to_bytes(8, "little") + encoded + b"".join(map(bytes, map(np.ascontiguousarray, arrays.values())))
    )


def split_file(folder: Path) -> None:
    """Spread a folder's arrays over two files with an index."""
    arrays = read_arrays(folder / "model.safetensors")
    names = sorted(arrays)
    (folder / "model.safetensors").unlink()
    parts = {f"model-0000{part}-of-00002.safetensors": names[part - 1 :: 2] for part in (1, 2)}
    for file, members in parts.items():
        write_arrays(folder / file, {name: arrays[name] for name in members})
    places = {name: file for file, members in parts.items() for name in members}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


CONVERTER = {
    "image_size": [24, 32],
    "scale": [0.0171247538, 0.0175070028, 0.0174291939],
    "offset": [-2.1179039, -2.0357143, -1.8044444],
    "interpolation": "bicubic",
    "crop_to_aspect_ratio": False,
}


def preset_folder(folder: Path, **converter: object) -> Path:
    """A folder as `save_to_preset` writes it, with arrays that only the builder would look at."""
    inner = {
        "name": "vit", "trainable": True, "dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {}},
        "image_shape": [24, 32, 3], "patch_size": [8, 8], "num_layers": 1, "num_heads": 2, "hidden_dim": 4,
        "mlp_dim": 8, "layer_norm_epsilon": 1e-6, "dropout_rate": 0.0,
    }  # fmt: skip
    config = {"module": "keras_hub.models", "class_name": "ViTBackbone", "config": inner}
    (folder / "config.json").write_text(json.dumps({**config, "registered_name": "keras_hub>ViTBackbone"}))
    (folder / "image_converter.json").write_text(json.dumps({"config": {**CONVERTER, **converter}}))
    with h5py.File(folder / "model.weights.h5", "w") as file:
        file["layers/x/vars/0"] = np.arange(200, dtype=np.float32)
    return folder
