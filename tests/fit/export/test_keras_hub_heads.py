"""Heads on networks of keras-hub: predictions on files are those from the store, and one model holds backbone and head."""

import numpy as np
import pytest

from extract import extract
from fit import fit_head, load_head
from fit.export.targets import TARGETS
from store import open_store
from store.errors import RecipeMismatch
from tests.extract.backbones.keras_hub import needs_keras_hub, weights_folder

pytestmark = needs_keras_hub


@pytest.mark.parametrize(
    ("name", "layer", "to"),
    [
        ("dinov2_with_registers", "mean", "openvino"),
        ("clip", "pooled", "onnx"),
        pytest.param("vit", "patches", "openvino", marks=pytest.mark.slow),
        pytest.param("deit", "cls", "saved_model", marks=pytest.mark.slow),
        pytest.param("dinov3", "block_1.cls", "openvino", marks=pytest.mark.slow),
        pytest.param("siglip", "pooled", "openvino", marks=pytest.mark.slow),
        pytest.param("swin", "pooled", "saved_model", marks=pytest.mark.slow),
        pytest.param("dinov2", "cls", "keras", marks=pytest.mark.slow),
    ],
)
def test_a_head_predicts_on_files_and_is_exported_with_its_backbone(name, layer, to, colors, tmp_path):
    copy = weights_folder(name, tmp_path / "network")
    extract(colors, out=tmp_path / "store", backbone=copy, layer=layer)
    store = open_store(tmp_path / "store")
    fit_head(store, head="logistic").save(tmp_path / "head")
    head, (features, rows) = load_head(tmp_path / "head"), store.arrays()
    copy.rename(tmp_path / "moved")
    files = [str(colors / path) for path in rows["path"].to_pylist()]
    table = head.predict(files, weights=tmp_path / "moved")
    found = np.stack([table[name].to_numpy() for name in head.classes], axis=1)
    np.testing.assert_allclose(found, head.predict_features(features), atol=1e-3)
    out = tmp_path / f"model{TARGETS[to].ending}"
    assert head.export(out, to=to, weights=tmp_path / "moved") < 5e-4
    other = weights_folder("deit" if name != "deit" else "vit", tmp_path / "other")
    with pytest.raises(RecipeMismatch, match="the recipe has"):
        head.predict(files[:1], weights=other)
