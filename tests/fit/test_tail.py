"""The rest of a backbone as a head, on a store of the default backbone's real weights cut before its last block."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import fit.heads.tail
from extract import extract as run_extract
from fit import fit_head, load_head
from fit.export.export import export_head
from fit.export.targets import TARGETS
from fit.heads.base import Origin
from fit.heads.tail import Tail
from store import open_store
from store.errors import RecipeMismatch, UsageError
from store.information import weights_of
from tests.fit.conftest import CLASSES

LAYER, LAST = "block6d_add", "top_activation"
EXPORTED = [pytest.param(to, marks=pytest.mark.slow) for to in TARGETS]


@pytest.fixture(scope="module")
def lite0(tmp_path_factory, colors):
    """60 rows, float32: of 2 x 2 x 192, and of the 2 x 2 x 1280 that the whole network gives."""
    folder = tmp_path_factory.mktemp("lite0") / "store"
    run_extract(colors, out=folder, image_size=(64, 64), layer=(LAYER, LAST), dtype="float32")
    return open_store(folder)


def quick_fit(store, **options):
    return fit_head(
        store, "tail", output=LAYER, parameters={"epochs": 3, "learning_rate": 0.001}, evaluate_test=True, **options
    )


@pytest.fixture(scope="module")
def head(lite0):
    return quick_fit(lite0, class_weight="balanced")


def begun(store, **origin):
    """A tail before its first step."""
    known = Origin(store.recipe, store.find_output(LAYER), weights_of(store))
    tail = Tail(origin=dataclasses.replace(known, **origin))
    tail.start(known.output.shape, len(CLASSES), multi_label=False)
    tail.begin()
    return tail


def weights_by_name(model):
    return {weight.path: np.asarray(weight.value) for weight in model.get_layer("remainder").weights}


def test_before_training_it_gives_what_the_whole_network_gives(lite0):
    X, _ = lite0.arrays(LAYER)
    whole, _ = lite0.arrays(LAST)
    model = begun(lite0).model_
    pooled = keras.Model(model.input, next(layer.output for layer in model.layers if "pooling" in layer.name))
    np.testing.assert_allclose(pooled.predict_on_batch(X), whole.mean(axis=(1, 2)), atol=1e-4)


def test_it_learns_and_batch_normalization_stays_as_it_was(lite0, head):
    assert head.metrics["rows"] == {"train": 36, "validation": 12, "test": 12}
    assert head.metrics["test"]["accuracy"]["value"] >= 0.75
    before, after = weights_by_name(begun(lite0).model_), weights_by_name(head.model)
    for name, values in before.items():
        assert np.array_equal(values, after[name]) == ("_bn/" in name), name


def test_it_is_the_same_after_loading_without_the_backbones_weights(lite0, head, tmp_path, monkeypatch):
    folder = head.save(tmp_path / "tail")
    monkeypatch.setattr(fit.heads.tail, "load_network", lambda *_: pytest.fail("the backbone's weights were loaded"))
    fit.heads.tail._first_weights.cache_clear()
    loaded = load_head(folder)
    X, _ = lite0.arrays(LAYER)
    assert np.array_equal(loaded.predict_features(X), head.predict_features(X))
    assert loaded.metrics == json.loads(json.dumps(head.metrics))


def test_images_get_what_their_cached_features_get(lite0, head, colors):
    X, rows = lite0.arrays(LAYER)
    table = head.predict([colors / path for path in rows["path"].to_pylist()])
    found = np.array([table[label].to_numpy() for label in head.classes]).T
    np.testing.assert_allclose(found, head.predict_features(X), atol=1e-5)


@pytest.mark.slow
def test_every_fold_starts_from_the_original_weights(lite0, monkeypatch):
    started = []

    def begin(tail, original=Tail.begin):
        original(tail)
        started.append(weights_by_name(tail.model_))

    monkeypatch.setattr(Tail, "begin", begin)
    quick_fit(lite0, cv=2)
    original = weights_by_name(begun(lite0).model_)
    assert len(started) == 5  # the first fit, the kept one, two folds, and `begun`
    for weights in started:
        assert all(np.array_equal(values, original[name]) for name, values in weights.items())


@pytest.mark.slow
def test_rows_with_several_labels(lite0, tmp_path):
    words = {"red": "warm", "green": "cold|leaf", "blue": "cold"}
    lines = [f"{path},{words[path.split('/')[0]]}" for path in lite0.table()["path"].to_pylist()]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    assert quick_fit(lite0, labels=tmp_path / "labels.csv").classes == ("cold", "leaf", "warm")


def test_where_the_network_cannot_be_continued_is_said(lite0):
    with pytest.raises(UsageError, match=f"cannot be continued from {LAST}: .* can be used: block7a_project_bn"):
        fit_head(lite0, "tail", output=LAST)


def test_other_weights_and_weights_that_are_gone_are_refused(lite0, tmp_path):
    with pytest.raises(RecipeMismatch, match="the weights random:1 have the digest"):
        begun(lite0, weights="random:1")
    with pytest.raises(UsageError, match=r"gone\.h5: no such file.* put them back"):
        begun(lite0, weights=str(tmp_path / "gone.h5"))


@pytest.mark.parametrize("to", EXPORTED)
@pytest.mark.filterwarnings("ignore")  # converters warn of their own and of TensorFlow's future
def test_it_is_exported_from_pixels_to_probabilities(to, head, tmp_path):
    assert export_head(head, tmp_path / f"model{TARGETS[to].ending}", to) <= 1e-3
