"""The rooms and their doors: cli -> fit -> extract -> store, and no computing library outside its place."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {"store": {"store"}, "extract": {"extract", "store"}, "fit": {"fit", "extract", "store"}}
COMPUTING = {"tensorflow", "jax", "torch"}
KERAS_PLACES = {
    "extract/runtimes/__init__.py",
    "extract/runtimes/keras.py",
    "extract/runtimes/load.py",
    "extract/runtimes/model.py",
    "extract/backbones/networks/alexnet.py",
    "extract/backbones/build.py",
    "extract/backbones/networks/caffe.py",
    "extract/backbones/networks/efficientnet_lite.py",
    "extract/backbones/networks/inception_v1.py",
    "extract/backbones/networks/inception_v4.py",
    "extract/backbones/load.py",
    "extract/backbones/networks/pixels.py",
    "extract/backbones/networks/squeezenet.py",
    "extract/backbones/weights_file.py",
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_rooms_behind_it(room):
    for path in (ROOT / room).rglob("*.py"):
        tops = {name.partition(".")[0] for name in imports(path)}
        assert tops & ({"cli"} | set(ALLOWED)) <= ALLOWED[room], path


def test_only_runtimes_import_a_computing_library_and_only_few_files_keras():
    for room in ALLOWED:
        for path in (ROOT / room).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            tops = {module.partition(".")[0] for module in imports(path)}
            if not name.startswith("extract/runtimes/"):
                assert not tops & COMPUTING, path
            if name.startswith("store/"):
                assert "keras" not in tops, path
            if "keras" in tops:
                assert name in KERAS_PLACES or name.startswith("fit/"), path
