"""Networks of a hub, downloaded from one on this machine that fails as it is asked to."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest

from extract import extract
from extract.backbones.hub import fetch_hub, find_hub
from extract.backbones.hub_download import COMPLETE
from extract.backbones.hub_model import HubFile, HubModel, needed_files
from store.errors import EnvironmentFailure, UsageError
from tests.extract.backbones.networks import FOLDER as NETWORKS
from tests.hub import COMMIT, Hub, serving

WEIGHTS = (
    b"weights" * 3_500_000
)  # half of it is more than the library reads at once, so that a broken download leaves a part
FILES = {
    "config.json": b'{"model_type": "dinov2"}',
    "preprocessor_config.json": b"{}",
    "onnx/model.onnx": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "modeling_net.py": b"raise SystemExit",
}
MODEL = HubModel("org/net")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STILLFRAME_CACHE", str(tmp_path / "cache"))
    hub = Hub({"org/net": dict(FILES)})
    with serving(hub) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield hub


def run(*words, **environment):
    code = "import sys; from cli import extract_main; sys.argv[0] = 'extract'; extract_main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def downloads(hub):
    return [path.rpartition(f"{COMMIT}/")[2] for method, path, _ in hub.requests if method == "GET" and COMMIT in path]


# What is named


def test_a_network_is_named_by_repository_and_revision():
    assert HubModel.parse("hf:facebook/dinov2-small") == HubModel("facebook/dinov2-small", "main")
    assert HubModel.parse("hf:a/b.c@refs/pr/1") == HubModel("a/b.c", "refs/pr/1")


@pytest.mark.parametrize(
    "text", ["hf:", "hf:net", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b@", "hf:a/b@../x", "hf:a b/c"]
)
def test_other_names_are_refused(text):
    with pytest.raises(UsageError, match="expected hf:ORG/NAME"):
        HubModel.parse(text)


def files(*names):
    return [HubFile(name, 1, None, "0") for name in names]


def test_onnx_comes_before_safetensors_and_nothing_else_comes_along():
    chosen = needed_files(
        files(
            "x.py",
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "onnx/model_int8.onnx",
            "model.safetensors",
            "config.json",
        ),
        MODEL,
    )
    assert [file.name for file in chosen] == ["config.json", "onnx/model.onnx", "onnx/model.onnx_data"]
    chosen = needed_files(files("model-00001-of-00002.safetensors", "model.safetensors.index.json", "a.bin"), MODEL)
    assert [file.name for file in chosen] == ["model-00001-of-00002.safetensors", "model.safetensors.index.json"]
    preset = ["config.json", "image_converter.json", "model.weights.h5"]
    chosen = needed_files(files("task.json", "metadata.json", "task.weights.h5", "tf_model.h5", *preset), MODEL)
    assert [file.name for file in chosen] == preset


def test_a_repository_of_pickles_alone_is_refused():
    with pytest.raises(UsageError, match=r"pytorch_model.bin can run code"):
        needed_files(files("config.json", "pytorch_model.bin"), MODEL)


# Downloads


def test_a_network_is_downloaded_once_and_then_the_hub_is_not_asked(hub):
    found = find_hub(MODEL)
    assert (found.path / "onnx" / "model.onnx").read_bytes() == WEIGHTS
    assert sorted(downloads(hub)) == ["config.json", "onnx/model.onnx", "preprocessor_config.json"]
    assert {path.name for path in found.path.iterdir()} == {"config.json", "preprocessor_config.json", "onnx", COMPLETE}
    hub.requests.clear()
    assert find_hub(MODEL) == found
    assert find_hub(HubModel("org/net", COMMIT)).path == found.path
    assert hub.requests == []


def test_a_broken_download_goes_on_where_it_ended(hub):
    hub.broken.add("onnx/model.onnx")
    found = find_hub(MODEL)
    assert (found.path / "onnx" / "model.onnx").read_bytes() == WEIGHTS
    ranges = [asked for _, path, asked in hub.requests if path.endswith("model.onnx") and asked]
    assert ranges and all(re.fullmatch(r"bytes=[1-9]\d*-", asked) for asked in ranges)


def test_other_bytes_than_the_hub_states_are_refused_and_not_kept(hub):
    hub.lies |= {"onnx/model.onnx"}
    with pytest.raises(EnvironmentFailure, match=r"model.onnx of hf:org/net@main is not what the hub states"):
        find_hub(MODEL)
    hub.lies.clear()
    assert (find_hub(MODEL).path / "onnx" / "model.onnx").read_bytes() == WEIGHTS
    shutil.rmtree(find_hub(MODEL).path)
    hub.lies |= {"config.json"}
    with pytest.raises(EnvironmentFailure, match=r"config.json"):
        find_hub(MODEL)


def test_a_full_disk_is_seen_before_anything_is_downloaded(hub, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("extract.backbones.hub_download.shutil.disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    with pytest.raises(EnvironmentFailure, match=r"takes 0.02 GB and 0.00 GB are free"):
        find_hub(MODEL)
    assert downloads(hub) == []


def test_restricted_and_unknown_networks_are_named(hub, monkeypatch):
    hub.token = "secret"
    with pytest.raises(UsageError, match="access to hf:org/net@main is restricted"):
        find_hub(MODEL)
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.status["org/net"] = (403, "GatedRepo")
    assert find_hub(MODEL).commit == COMMIT
    with pytest.raises(UsageError, match="the hub has no org/other"):
        find_hub(HubModel("org/other"))
    with pytest.raises(UsageError, match="org/net has no revision v2"):
        find_hub(HubModel("org/net", "v2"))


def test_a_hub_that_is_away_is_a_failure_of_the_environment(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(EnvironmentFailure, match=r"cannot download hf:org/net@main: .*run the same command again"):
        find_hub(MODEL)


# The command


def test_a_folder_for_another_machine(hub, tmp_path):
    done = run("fetch", "hf:org/net", "--to", tmp_path / "net", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["commit"] == COMMIT
    assert (tmp_path / "net" / "onnx" / "model.onnx").read_bytes() == WEIGHTS
    again = run("fetch", "hf:org/net", "--to", tmp_path / "net")
    assert (again.returncode, "downloading" in again.stderr) == (0, False)


def test_a_preset_is_a_repository_of_keras(hub, tmp_path):
    hub.files["keras/tiny"] = {"config.json": b"{}", "model.weights.h5": b"weights", "preprocessor.json": b"{}"}
    done = run("fetch", "hub:tiny", "--to", tmp_path / "tiny", "--json")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "tiny").iterdir()}
    assert names == {"config.json", "model.weights.h5", COMPLETE}
    unknown = run("fetch", "hub:other", "--to", tmp_path / "other")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (2, 1)
    assert "the hub has no keras/other" in unknown.stderr


def test_a_folder_of_something_else_is_not_written_into(hub, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("mine")
    with pytest.raises(UsageError, match="name a new folder"):
        fetch_hub(MODEL, tmp_path / "mine")
    assert (tmp_path / "mine" / "config.json").read_text() == "mine"


def test_offline_is_said_in_one_line(hub):
    done = run("fetch", "hf:org/net", HF_HUB_OFFLINE="1")
    assert done.returncode == 74
    assert len(done.stderr.splitlines()) == 1 and "HF_HUB_OFFLINE forbids downloads" in done.stderr
    assert hub.requests == []


def test_to_is_for_hubs(tmp_path):
    done = run("fetch", "vgg16", "--to", tmp_path / "x")
    assert done.returncode == 2 and "--to is for networks of a hub" in done.stderr


def test_a_run_computes_with_a_network_of_a_hub_and_then_needs_none(hub, tmp_path):
    folder = NETWORKS / "vit"
    hub.files["org/vit"] = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in (".json", ".onnx")
    }
    first = extract(NETWORKS / "images", backbone="hf:org/vit", out=tmp_path / "store", limit=2)
    assert first.computed == 2
    hub.requests.clear()
    assert extract(NETWORKS / "images", backbone="hf:org/vit", out=tmp_path / "store", limit=4).computed == 2
    assert hub.requests == []
    same = extract(NETWORKS / "images", backbone=folder, out=tmp_path / "store", limit=4)
    assert (same.computed, same.reused) == (0, 4)
