"""Model files and folders made to do harm: refused, nothing in them run, nothing read outside of their folder."""

import json
import os
import pickle
import random
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import extract.runtimes.onnx_graph
from extract.backbones import keras_hub_load
from extract.backbones.folder import read_folder
from extract.backbones.keras_file import default_layer, load_keras_file
from extract.backbones.onnx_file import read_onnx_file
from store.errors import UnsafeFile, UsageError
from tests.attacks.hostile import little_memory, raised
from tests.extract.backbones.keras_hub import change_config, preset_folder, weights_folder, write_arrays
from tests.extract.backbones.networks import FOLDER, TOML, compute, difference, load, model_of, pixels_of, reference

OUTSIDE = [
    "../secret",
    "/etc/passwd",
    "a/../../secret",
    "..\\secret",
    "link",
    "folder/link",
    "..",
    "",
    "./../secret",
    "x\0y",
]


@pytest.fixture
def never_parsed(monkeypatch):
    """Fails if a library is given the file."""

    def refused(*_):
        raise AssertionError("a library was given the file")

    monkeypatch.setattr(extract.runtimes.onnx_graph, "openvino_core", refused)


@pytest.fixture
def place(tmp_path):
    """A folder for a model, with a secret beside it and links to that."""
    (tmp_path / "secret").write_bytes(bytes(4096))
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder" / "link").symlink_to("../../secret")
    (folder / "x.toml").write_text(TOML)
    return folder


def external(location, name="w", dims=(4,)):
    """A tensor with its values elsewhere."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": str(4 * int(np.prod(dims)))}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def ports():
    given = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1, 3, 32, 32])]
    return given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3072])]


def model_with(nodes=(), initializers=(), functions=(), **parts):
    graph = helper.make_graph(
        [*nodes, helper.make_node("Flatten", ["pixel_values"], ["y"])], "g", *ports(), initializer=list(initializers)
    )
    for name, values in parts.items():
        getattr(graph, name).extend(values)
    return helper.make_model(graph, functions=list(functions), opset_imports=[helper.make_opsetid("", 17)])


def in_constant(tensor):
    return model_with([helper.make_node("Constant", [], ["c"], value=tensor)])


def in_branch(tensor):
    branch = helper.make_graph([], "b", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, [4])], [tensor])
    node = helper.make_node("If", ["condition"], ["z"], then_branch=branch, else_branch=branch)
    return model_with([node])


def in_function(tensor):
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    return model_with(functions=[helper.make_function("x", "f", [], ["c"], [node], [helper.make_opsetid("", 17)])])


def in_sparse(tensor):
    sparse = onnx.SparseTensorProto(values=tensor, indices=numpy_helper.from_array(np.array([0])), dims=[4])
    return model_with(sparse_initializer=[sparse])


def in_initializer(tensor):
    return model_with(initializers=[tensor])


PLACES = [in_initializer, in_constant, in_branch, in_function, in_sparse]


@pytest.mark.parametrize("location", OUTSIDE)
def test_weights_outside_of_the_folder_are_never_read(location, place, never_parsed):
    (place / "model.onnx").write_bytes(in_initializer(external(location)).SerializeToString())
    with pytest.raises(UnsafeFile, match="outside of its folder, which is never read"):
        load(place / "model.onnx", preprocessing=place / "x.toml")


@pytest.mark.parametrize("build", PLACES)
def test_weights_outside_of_the_folder_are_found_wherever_a_tensor_can_be(build, place, never_parsed):
    (place / "model.onnx").write_bytes(build(external("../secret")).SerializeToString())
    with pytest.raises(UnsafeFile, match="outside of its folder"):
        load(place / "model.onnx", preprocessing=place / "x.toml")


def test_weights_beside_the_model_are_read_and_are_part_of_its_digest(tmp_path):
    folder = shutil.copytree(FOLDER / "dinov2", tmp_path / "dinov2")
    path = model_of("dinov2").relative_to(FOLDER / "dinov2")
    model = onnx.load(folder / path)
    onnx.save(model, folder / path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    beside = (folder / path).with_name("weights.bin")
    file = read_onnx_file(folder / path)
    assert file.beside == (beside,)
    runtime, request = load(folder)
    layer = request.network.layers[0]
    assert difference(compute(runtime, pixels_of("dinov2")), reference("dinov2", "of_pixels", layer)) < 1e-5
    digest = file.digest()
    data = bytearray(beside.read_bytes())
    data[100] ^= 1
    beside.write_bytes(data)
    assert read_onnx_file(folder / path).digest() != digest
    beside.write_bytes(data[:-1])
    with pytest.raises(UsageError, match="cut short"):
        load(folder)
    beside.unlink()
    with pytest.raises(UsageError, match=r"weights\.bin, which is not in its folder"):
        load(folder)


@pytest.mark.parametrize("build", PLACES)
@pytest.mark.parametrize("dims", [(2**31, 2**31), (2**62, 4), (10**9,)])
def test_a_tensor_that_claims_to_be_huge_is_refused(dims, build, place, never_parsed):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=bytes(16))
    (place / "model.onnx").write_bytes(build(tensor).SerializeToString())
    with little_memory(), pytest.raises(UnsafeFile, match="claims"):
        load(place / "model.onnx", preprocessing=place / "x.toml")


def test_a_computation_that_would_fill_the_memory_is_refused(place):
    shape = numpy_helper.from_array(np.array([10**6, 10**6]), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceMean", ["big"], ["mean"], keepdims=0),
        helper.make_node("Flatten", ["pixel_values"], ["flat"]),
        helper.make_node("Add", ["flat", "mean"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", *ports(), initializer=[shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (place / "model.onnx").write_bytes(model.SerializeToString())
    with little_memory(), pytest.raises(UnsafeFile, match="computes a tensor of 1,000,000,000,000 elements"):
        load(place / "model.onnx", preprocessing=place / "x.toml")


def test_a_truncated_model_is_refused(place):
    data = model_of("dinov2").read_bytes()
    for length in [0, 1, 2, *range(10, len(data), len(data) // 40)]:
        (place / "model.onnx").write_bytes(data[:length])
        error = raised(lambda: load(place / "model.onnx", preprocessing=place / "x.toml", layer="pooler_output"))
        assert error is not None and error.exit_code in (2, 74), length


def test_a_mutated_model_computes_or_is_refused(tmp_path):
    copy = shutil.copytree(FOLDER / "vit", tmp_path / "vit")
    path, data, rng = copy / "onnx" / "model.onnx", model_of("vit").read_bytes(), random.Random(0)
    for _ in range(30):
        changed = bytearray(data)
        for _ in range(rng.choice([1, 3, 10])):
            changed[rng.randrange(rng.choice([len(data), 2000]))] = rng.randrange(256)
        path.write_bytes(changed)
        error = raised(lambda: load(copy))
        assert error is None or error.exit_code == 2


@pytest.mark.parametrize("data", [b"\x08" * 100, b"\xff" * 100, b":" + b"\xff" * 9 + b"\x01", b"\x82PNG", b"{}" * 50])
def test_what_is_not_an_onnx_model_is_refused(data, place, never_parsed):
    (place / "model.onnx").write_bytes(data)
    with pytest.raises(UsageError, match="not an ONNX model"):
        load(place / "model.onnx", preprocessing=place / "x.toml")


def test_graphs_in_graphs_end_somewhere(place, never_parsed):
    graph = b""
    for _ in range(2000):  # a node with an attribute with a graph with a node …
        for key in (0x32, 0x2A, 0x0A):
            length, size = len(graph), b""
            while length > 0x7F:
                size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
            graph = bytes([key]) + size + bytes([length]) + graph
    size, length = b"", len(graph)
    while length > 0x7F:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    (place / "model.onnx").write_bytes(b":" + size + bytes([length]) + graph)
    with pytest.raises(UnsafeFile, match="graphs in graphs"):
        load(place / "model.onnx", preprocessing=place / "x.toml")


def test_a_pipe_is_never_waited_for(tmp_path):
    copy = shutil.copytree(FOLDER / "vit", tmp_path / "vit")
    (copy / "model.safetensors").unlink()
    os.mkfifo(copy / "model.safetensors")
    for name in ("onnx/model.onnx", "config.json", "preprocessor_config.json"):
        (copy / name).unlink()
        os.mkfifo(copy / name)
        assert raised(lambda: load(copy)).exit_code == 2


# Folders


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_a_pickle_is_never_opened(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(FOLDER / "vit" / "config.json", folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harm(tmp_path / "done")))
    with pytest.raises(UnsafeFile, match=r"pytorch_model\.bin, which can run code"):
        load(folder)
    shutil.copy(model_of("vit"), folder / "model.onnx")
    shutil.copy(FOLDER / "vit" / "preprocessor_config.json", folder)
    load(folder)  # beside an ONNX model it is not looked at
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_code_that_a_folder_names_is_never_run(name, tmp_path):
    copy = shutil.copytree(FOLDER / "vit", tmp_path / "vit")
    (copy / "modeling_harm.py").write_text(f"open({str(tmp_path / 'done')!r}, 'w')")
    values = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps({**values, "auto_map": {"AutoModel": "modeling_harm.Harm"}}))
    with pytest.raises(UnsafeFile, match=r"auto_map\), which is never run: name .*model\.onnx itself"):
        load(copy)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    "data", [b"", b"[]", b"[" * 100_000, b'{"a":' * 50_000, b'{"a": NaN}', b" " * 2**21, b"\xff{}"]
)
def test_a_description_that_cannot_be_read_is_refused(name, data, tmp_path):
    copy = shutil.copytree(FOLDER / "vit", tmp_path / "vit")
    (copy / name).write_bytes(data)
    with pytest.raises(UsageError, match=name):
        load(copy)


def test_safetensors_of_other_families_are_not_enough_and_the_export_is_shown(tmp_path):
    shutil.copy(FOLDER / "convnextv2" / "config.json", tmp_path)
    with pytest.raises(UsageError, match="holds no model: expected one of onnx/vision_model"):
        read_folder(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UsageError, match=r"safetensors(.|\n)*torch\.onnx\.export"):
        read_folder(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UsageError, match=r"has no config\.json"):
        read_folder(tmp_path)


# Weights for keras-hub


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights; fails if keras-hub is given it."""

    def refused(*_):
        raise AssertionError("keras-hub was given the folder")

    monkeypatch.setattr(keras_hub_load, "require_keras_hub", refused)
    return weights_folder("vit", tmp_path / "vit")


@pytest.mark.parametrize("length", [0, 4, 8, 9, 100, 2000, 20_000, -1])
def test_truncated_safetensors_are_refused(length, weights):
    path = weights / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UsageError, match=r"cut short|not valid JSON"):
        load(weights)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, "claims"),
        ({"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 2**82]}}, "cut short"),
        ({"x": {"dtype": "F32", "shape": [-1, -4], "data_offsets": [0, 16]}}, "claims"),
        ({"x": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, "claims"),
        ({"x": {"dtype": "object", "shape": [1], "data_offsets": [0, 4]}}, "has the type 'object'"),
        ({"x": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}, "shape is '1'"),
        ({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, "data_offsets"),
        ({"x": None}, "shape is None"),
    ],
)
def test_a_tensor_that_its_file_does_not_hold_is_refused(header, message, weights):
    write_arrays(weights / "model.safetensors", {"y": np.zeros(9, np.float32)}, **header)
    with little_memory(), pytest.raises(UsageError, match=message):
        load(weights)


def test_a_header_that_claims_to_be_huge_is_refused(weights):
    (weights / "model.safetensors").write_bytes((2**63).to_bytes(8, "little") + bytes(1000))
    with little_memory(), pytest.raises(UsageError, match="cut short"):
        load(weights)


@pytest.mark.parametrize("file", ["../secret.safetensors", "/etc/passwd", "model.bin", "folder/model.safetensors", ""])
def test_an_index_names_only_parts_beside_it(file, weights):
    (weights / "model.safetensors").rename(weights.parent / "secret.safetensors")
    (weights / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": file}}))
    with pytest.raises(UnsafeFile, match="which is not a part of a model"):
        load(weights)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 10**5}, "describes a network with more than"),
        ({"hidden_size": 10**5}, "describes a network with more than"),
        ({"intermediate_size": 10**6}, "describes a network with more than"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"image_size": 2**20}, "would fill the memory"),
        ({"patch_size": 0}, "patch_size is 0"),
        ({"hidden_size": float("1e300")}, "hidden_size"),
        ({"layer_norm_eps": {"class_name": "Lambda", "config": {}}}, "layer_norm_eps is"),
        ({"layer_norm_eps": [[1]]}, "layer_norm_eps is"),
    ],
)
def test_a_description_that_claims_more_than_the_weights_hold_is_refused(values, message, weights):
    with little_memory(), pytest.raises(UsageError, match=message):
        load(change_config(weights, **values))


@pytest.mark.parametrize("name", ["registered_name", "class_name", "module"])
def test_a_folder_that_names_a_class_is_refused(name, weights):
    with pytest.raises(
        UsageError, match=f"{name} names a class|holds no model|of a family that keras-hub does not build"
    ):
        load(change_config(weights, **{name: "package>Harm"}))


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """A preset's folder; fails if keras-hub is given it."""
    monkeypatch.setattr(keras_hub_load, "require_keras_hub", None)
    return preset_folder(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"class_name": "Lambda"},
        {"class_name": "os.system"},
        {"class_name": "BertBackbone"},
        {"class_name": ["ViTBackbone"]},
        {"config": "print"},
        {"config": {}},
    ],
)
def test_a_preset_of_another_class_is_refused(values, preset):
    with pytest.raises(UsageError, match=r"holds no model|must be given|config is"):
        load(change_config(preset, **values))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_dim", {"class_name": "Lambda", "config": {"function": "x"}}),
        ("num_layers", 10**7),
        ("hidden_dim", 10**6),
        ("use_class_token", False),
        ("data_format", "channels_first"),
    ],
)
def test_a_preset_with_other_values_is_refused(name, value, preset):
    inner = json.loads((preset / "config.json").read_text())["config"]
    with little_memory(), pytest.raises(UsageError, match=name.replace("hidden_dim", "hidden_dim|describes")):
        load(change_config(preset, config={**inner, name: value}))


def test_weights_of_a_preset_that_refer_to_other_files_or_claim_too_much_are_refused(preset):
    with h5py.File(preset / "model.weights.h5", "r+") as file:
        file["huge"] = h5py.SoftLink("/nowhere")
    with pytest.raises(UsageError, match="never followed"):
        load(preset)
    with h5py.File(preset / "model.weights.h5", "w") as file:
        file.create_dataset("huge", (2**40,), "f4", chunks=(2**20,), compression="gzip")
    with little_memory(), pytest.raises(UnsafeFile, match=r"claims 4,398,046,511,104 bytes"):
        load(preset)
    (preset / "model.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UsageError, match="not a weights file"):
        load(preset)


# .keras files


@pytest.fixture
def keras_model(tmp_path):
    pixels = keras.Input((32, 32, 3))
    model = keras.Model(pixels, keras.layers.Conv2D(2, 3, name="last")(pixels))
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def rewritten(path, **changes):
    """Put other files into an archive; each value is what becomes of the content."""
    with zipfile.ZipFile(path) as old:
        files = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in files.items():
            change = changes.get(name.replace(".", "_"))
            new.writestr(name, change(content) if change else content)
    return path


def with_layer(**values):
    """A change of config.json: other values for the last layer."""

    def change(content):
        config = json.loads(content)
        config["config"]["layers"][-1].update(values)
        return json.dumps(config)

    return change


@pytest.mark.parametrize(
    "values",
    [
        {"class_name": "Lambda"},
        {"class_name": "TFSMLayer"},
        {"class_name": "TorchModuleWrapper"},
        {"class_name": "TextVectorization", "config": {"vocabulary": "/etc/passwd"}},
        {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "os", "class_name": "system"},
        {"module": "builtins", "class_name": "function", "config": "print"},
        {"module": "keras.utils", "class_name": "get_file"},
        {"module": "keras.src.utils.file_utils", "class_name": "extract_archive"},
        {"module": "keras", "class_name": "utils"},
        {"module": "keras.saving", "class_name": "load_model"},
        {"module": "kerasx.layers", "class_name": "Dense"},
        {"module": "keras.layers.__init__.os", "class_name": "system"},
        {"module": None, "registered_name": "package>Harm", "class_name": "Harm"},
        {"config": {"activation": {"class_name": "__lambda__", "config": {"value": "AAAA"}}}},
        {"module": 5},
    ],
)
def test_a_keras_file_that_could_run_code_is_never_loaded(values, keras_model, monkeypatch):
    rewritten(keras_model, config_json=with_layer(**values))
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", None)
    with pytest.raises(UnsafeFile):
        load_keras_file(keras_model)
    with pytest.raises(UnsafeFile):
        default_layer(keras_model)


def test_a_lambda_as_keras_writes_it_is_refused(tmp_path):
    pixels = keras.Input((8, 8, 3))
    keras.Model(pixels, keras.layers.Lambda(lambda x: x)(pixels)).save(tmp_path / "model.keras")
    with pytest.raises(UnsafeFile, match="'Lambda', which runs code"):
        load_keras_file(tmp_path / "model.keras")


def test_weights_of_a_keras_file_that_refer_to_other_files_are_refused(keras_model, tmp_path):
    def linked(content):
        (tmp_path / "weights.h5").write_bytes(content)
        with h5py.File(tmp_path / "weights.h5", "r+") as file:
            file["secret"] = h5py.ExternalLink("/etc/secret.h5", "/x")
        return (tmp_path / "weights.h5").read_bytes()

    rewritten(keras_model, model_weights_h5=linked)
    with pytest.raises(UsageError, match="never followed"):
        load_keras_file(keras_model)


def test_a_keras_file_that_unpacks_to_far_more_is_refused(keras_model):
    with zipfile.ZipFile(keras_model, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/x", bytes(10**7))
    with little_memory(), pytest.raises(UnsafeFile, match="would unpack to"):
        load_keras_file(keras_model)


def test_a_keras_file_that_is_cut_short_is_refused(keras_model):
    data = keras_model.read_bytes()
    for length in range(0, len(data) - 1, len(data) // 20):
        keras_model.write_bytes(data[:length])
        assert raised(lambda: load_keras_file(keras_model)).exit_code == 2, length
