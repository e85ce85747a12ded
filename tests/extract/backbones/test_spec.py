"""The grammar of --backbone."""

import pytest

from extract.backbones.spec import FOLDER, HUB, KERAS, ONNX, TABLE, BackboneSpec, parse_backbone
from store.errors import UsageError


def test_each_spelling_is_what_it_looks_like(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "vgg16").mkdir()
    for name in ("model.onnx", "Model.ONNX", "model.keras"):
        (tmp_path / name).touch()
    assert parse_backbone("vgg16") == BackboneSpec(TABLE, "vgg16")
    assert parse_backbone("./vgg16") == BackboneSpec(FOLDER, str(tmp_path / "vgg16"))
    assert parse_backbone("folder") == BackboneSpec(FOLDER, str(tmp_path / "folder"))
    assert parse_backbone(tmp_path / "model.onnx") == BackboneSpec(ONNX, str(tmp_path / "model.onnx"))
    assert parse_backbone("Model.ONNX") == BackboneSpec(ONNX, str(tmp_path / "Model.ONNX"))
    assert parse_backbone("model.keras") == BackboneSpec(KERAS, str(tmp_path / "model.keras"))
    assert parse_backbone("hf:facebook/dinov2-small") == BackboneSpec(HUB, "facebook/dinov2-small", "main")
    assert parse_backbone("hf:facebook/dinov2-small@v1.0") == BackboneSpec(HUB, "facebook/dinov2-small", "v1.0")
    assert parse_backbone("hub:dinov2_small") == BackboneSpec(HUB, "keras/dinov2_small", "main")


@pytest.mark.parametrize(
    "text", ["vgg61", "", "gone.onnx", "gone.keras", "gone/", "hfx:a/b", "https://host/model.onnx"]
)
def test_anything_else_is_refused_with_the_grammar(text):
    with pytest.raises(UsageError) as raised:
        parse_backbone(text)
    for part in ("extract backbones", ".onnx", ".keras", "config.json", "hf:ORG/NAME[@REVISION]", "hub:PRESET"):
        assert part in str(raised.value)


def test_a_misspelled_name_gets_the_nearest():
    with pytest.raises(UsageError, match=r"unknown backbone 'vgg61': did you mean .*vgg16"):
        parse_backbone("vgg61")


@pytest.mark.parametrize("text", ["hf:", "hf:dinov2", "hf:a/b/c", "hf:a/b@", "hf:../b@x y"])
def test_a_hub_name_has_an_organization_and_a_name(text):
    with pytest.raises(UsageError, match="expected hf:ORG/NAME"):
        parse_backbone(text)
