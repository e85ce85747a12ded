"""The programs with models from files: what they print, and their exit codes."""

import json
import shutil
import sys

import pytest

import cli
from tests.extract.backbones.networks import FOLDER, IMAGES, TOML, model_of


@pytest.fixture
def command(monkeypatch, capsys):
    """Call a program in this process; gives (exit code, standard output, standard error)."""

    def call(program, *arguments):
        monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
        code = cli.run_app(getattr(cli, f"{program}_app"), program)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_folder_is_extracted_and_shown(command, tmp_path):
    code, out, _ = command("extract", "layers", FOLDER / "dinov2")
    assert (code, out.split()[:2]) == (0, ["last_hidden_state.cls", "16"])
    store = tmp_path / "store"
    code, out, _ = command("extract", "run", IMAGES, "--backbone", FOLDER / "dinov2", "--out", store, "--json")
    assert (code, json.loads(out)["rows"]) == (0, 10)
    code, out, _ = command("store", "info", store)
    assert code == 0
    assert "center of an image whose shortest edge is 36, bicubic" in out
    assert "(pixels * 0.0039216 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225), rgb, nchw" in " ".join(out.split())
    assert command("store", "verify", store)[0] == 0
    code, out, _ = command("store", "info", store, "--config")
    (tmp_path / "again.toml").write_text(out)
    code, out, _ = command("extract", "run", "--config", tmp_path / "again.toml", "--out", store, "--json")
    assert (code, json.loads(out)["computed"]) == (0, 0)


def test_what_a_model_does_not_say_ends_with_2_and_the_file_to_write(command, tmp_path):
    model = shutil.copy(model_of("dinov2"), tmp_path)
    call = ("extract", "run", IMAGES, "--backbone", model, "--out", tmp_path / "store")
    code, _, err = command(*call)
    assert code == 2
    assert 'resize = "bicubic"' in err
    (tmp_path / "own.toml").write_text(TOML)
    code, _, err = command(*call, "--preprocessing", tmp_path / "own.toml")
    assert code == 2
    assert "last_hidden_state (?, 17, 16)" in err
    assert command(*call, "--preprocessing", tmp_path / "own.toml", "--layer", "pooler_output")[0] == 0
    assert not (tmp_path / "store" / "tmp").exists() or not list((tmp_path / "store" / "tmp").iterdir())


def test_a_dry_run_and_parts_take_a_folder(command, tmp_path):
    call = ("extract", "run", IMAGES, "--backbone", FOLDER / "clip", "--out", tmp_path / "store", "--shard-rows", "2")
    code, out, _ = command(*call, "--dry-run", "--json")
    assert (code, json.loads(out)["to_compute"]) == (0, 10)
    assert not (tmp_path / "store").exists()
    codes = [command(*call, "--part", f"{part}/2")[0] for part in (0, 1)]
    assert codes == [0, 0]
    assert command("store", "verify", tmp_path / "store")[0] == 0


@pytest.mark.parametrize("backbone", ["vgg61", "gone.onnx", "hf:x", "hub:x/y"])
def test_the_grammar_is_in_the_error(backbone, command, tmp_path):
    code, _, err = command("extract", "run", IMAGES, "--backbone", backbone, "--out", tmp_path / "store")
    assert code == 2
    assert "hf:ORG/NAME" in err
