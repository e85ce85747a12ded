"""One head on several blocks of features: several stores of the same images, or several outputs of one store."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import extract.images.loader
from extract import extract as run_extract
from extract.api import Reporter
from fit import fit_head, load_head
from fit.blocks import find_outputs, match_images
from fit.data import InMemory, Joined, Source
from fit.evaluation import evaluate_head
from fit.evaluation_options import EvaluationOptions
from fit.head_folder import read_results
from fit.heads.balanced import BalancedClassifier, block_scales
from fit.heads.base import HeadSpec
from fit.heads.build import build_classifier
from fit.heads.table import HEADS
from fit.model_file import dump_estimator, load_estimator
from fit.options import FitOptions
from fit.page.features import find_features
from fit.prediction import predict_store
from fit.rows import select_images
from fit.search.options import SweepOptions
from fit.search.sweep import sweep_head
from fit.splits import TEST
from fit.task import Task
from fit.train import fit_with
from store import open_store
from store.errors import DamagedHead, RecipeMismatch, UsageError
from tests.store.build import SPATIAL, VECTOR, Image, SmallStore

MOBILENET = {"backbone": "mobilenet", "weights": "random"}
SIZES = {"small": (16, 16), "large": (24, 24)}


def extracted(colors, folder, **options):
    run_extract(colors, out=folder, **{**MOBILENET, **options})
    return open_store(folder)


@pytest.fixture
def stores(stub, colors, tmp_path):
    """The same 60 images at two sizes: other recipes, and other pixels."""
    return [extracted(colors, tmp_path / name, image_size=size) for name, size in SIZES.items()]


@pytest.fixture
def head(stores):
    return fit_head(stores, "logistic", cv=3, evaluate_test=True)


# Fitting


@pytest.mark.parametrize("name", ["logistic", "knn", "forest", "sgd", "dense", "ridge"])
def test_files_get_what_their_stored_features_get(name, stores, colors, tmp_path):
    parameters = {"epochs": 3} if name == "dense" else {}
    folder = fit_head(stores, name, parameters=parameters, near_twins="ignore").save(tmp_path / "head")
    head = load_head(folder)
    stored, computed = predict_store(head, stores), head.predict(colors)
    assert computed["error"].null_count == len(computed) == 60
    for label in head.classes:
        np.testing.assert_allclose(computed[label], stored[label], atol=1e-3)
    features = [store.arrays()[0] for store in stores]
    np.testing.assert_allclose(head.predict_features(*features)[:, 0], stored["blue"], atol=1e-6)


def test_a_joined_head_is_measured_and_described(head, stores, tmp_path):
    assert head.metrics["cv"]["accuracy"]["value"] > 0.8
    assert head.info.shape == (6,)
    assert head.model.blocks == (3, 3)
    folder = head.save(tmp_path / "head")
    described = json.loads((folder / "head.json").read_text())
    assert described["version"] == 2
    assert "recipe" not in described
    assert [block["recipe"]["image_size"] for block in described["blocks"]] == [[16, 16], [24, 24]]
    assert [block["store"] for block in described["blocks"]] == [str(store.folder.root) for store in stores]
    loaded = load_head(folder)
    assert loaded.info == head.info
    assert loaded.info.fingerprint == head.metrics["fingerprint"] not in {store.fingerprint for store in stores}


def test_a_head_on_one_block_is_written_as_ever(stores, tmp_path):
    described = json.loads((fit_head(stores[0]).save(tmp_path / "head") / "head.json").read_text())
    assert " ".join(described) == (
        "format version fingerprint head parameters reduction classes several class_weight seed recipe output weights "
        "versions data store model"
    )
    assert described["version"] == 1
    assert described["fingerprint"] == stores[0].fingerprint


def test_a_joined_head_that_was_edited_is_damaged(head, tmp_path):
    folder = head.save(tmp_path / "head")
    described = json.loads((folder / "head.json").read_text())
    for changed in (
        {"version": 1},
        {"blocks": described["blocks"][:1]},
        {"blocks": [{**block, "scale": -1.0} for block in described["blocks"]]},
        {"blocks": [described["blocks"][0], 3]},
        {"blocks": described["blocks"][::-1]},
    ):
        (folder / "head.json").write_text(json.dumps({**described, **changed}))
        with pytest.raises(DamagedHead):
            load_head(folder)


def test_a_joined_head_takes_no_place_of_a_network_from_its_description(head, tmp_path):
    folder = head.save(tmp_path / "head")
    described = json.loads((folder / "head.json").read_text())
    blocks = [{**block, "network": "https://example.org/head"} for block in described["blocks"]]
    (folder / "head.json").write_text(json.dumps({**described, "blocks": blocks}))
    assert load_head(folder).info == head.info


@pytest.mark.parametrize("name", ["ridge", "knn"])
def test_a_joined_head_predicts_numbers(name, stores, colors, tmp_path):
    paths = stores[0].table()["path"].to_pylist()
    reds = stores[0].arrays()[0][:, :, :, 0].mean(axis=(1, 2)).astype(float)
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{path},{red}\n" for path, red in zip(paths, reds, strict=True)))
    head = load_head(fit_head(stores, name, task="regression", labels=table, val=0.3).save(tmp_path / "head"))
    assert head.metrics["validation"]["r2"]["value"] > 0.9
    stored = predict_store(head, stores[::-1])
    np.testing.assert_allclose(head.predict(colors)["predicted"], stored["predicted"], atol=1e-3)


@pytest.mark.parametrize("name", [name for name, kind in HEADS.items() if kind.spatial])
def test_heads_that_take_whole_tensors_are_refused(name, stores):
    with pytest.raises(UsageError, match="takes the tensor of one output as it is"):
        fit_head(stores, name)


def test_a_sweep_and_fitting_again(stores, tmp_path):
    sweep = sweep_head(stores, FitOptions("knn"), SweepOptions(("neighbors=1,5",)), tmp_path / "sweep")
    assert len(load_head(sweep.best).info.blocks) == 2
    from fit.like import as_like

    again = fit_with(stores, as_like(sweep.best, {}))
    assert again.info.parameters == load_head(sweep.best).info.parameters


# Which images and which columns


def small(folder, images, outputs=(VECTOR,), **recipe):
    store = SmallStore(folder, outputs, "hdf5" if any(output.spatial for output in outputs) else "parquet")
    store.info = replace(store.info, recipe=replace(store.info.recipe, **recipe))
    shutil.rmtree(folder)
    store.writer = type(store.writer)(store.folder)
    store.writer.create(store.info)
    store.update(images)
    return open_store(folder)


def test_images_are_matched_by_path_and_bytes_and_the_others_counted(tmp_path):
    first = {name: Image(name, "x") for name in ("a", "b", "c", "d")}
    second = {**{name: Image(name, "x") for name in ("0", "b", "d", "e")}, "c": Image("other bytes", "x")}
    stores = [small(tmp_path / "1", first), small(tmp_path / "2", second, image_size=(8, 8))]
    messages = []
    rows = match_images(select_images(stores[0]), stores, Reporter(messages.append))
    assert rows.texts("path") == ["b", "d"]
    for number, store in enumerate(stores):
        assert store.images()["path"].take(rows.positions(number)).to_pylist() == ["b", "d"]
    assert [message.split(" ")[0] for message in messages] == ["1", "1", "2"]
    assert "are not in" in messages[0]
    assert "other bytes" in messages[1]
    assert "are not among" in messages[2]
    stores[1] = small(tmp_path / "3", {"z": Image("z")}, image_size=(8, 8))
    with pytest.raises(UsageError, match="have no image in common"):
        match_images(select_images(stores[0]), stores)


@pytest.mark.parametrize("column", ["label", "split", "group"])
def test_stores_that_contradict_each_other_are_refused(column, tmp_path):
    values = {"label": "xy", "split": ("train", "test"), "group": "gh"}[column]
    described = [{"label": "x", column: value} for value in values]
    stores = [
        small(tmp_path / str(number), {"a": Image("a", **one), "b": Image("b", "y")}, image_size=(8, 8 + number))
        for number, one in enumerate(described)
    ]
    with pytest.raises(UsageError, match=f"the {column} of 1 images is another one.*a has {values[1]} there"):
        fit_head(stores)


def test_what_is_joined_is_named(tmp_path):
    images = {"a": Image("a", "x")}
    both = (replace(VECTOR, name="v", pooling="none"), replace(SPATIAL, name="s"))
    two = small(tmp_path / "two", images, both)
    one = small(tmp_path / "one", images, image_size=(8, 8))
    found = [(number, output.name) for number, output in find_outputs([two, one], ["s"])]
    assert found == [(0, "s"), (1, "features")]
    assert [output.name for _, output in find_outputs([two], ["s", "v"])] == ["s", "v"]
    for stores, names, words in (
        ([two, one], [], "has several outputs and --output names none"),
        ([two, one], ["s", "w"], "there is no output 'w'"),
        ([one, one], [], "have the same recipe"),
        ([two, two], ["v"], "have the same recipe"),
    ):
        with pytest.raises(UsageError, match=words):
            find_outputs(stores, names)
    with pytest.raises(UsageError, match="names the same output twice"):
        FitOptions(output=("s", "s"))


def test_several_outputs_of_one_store(tmp_path):
    labels = {f"{number:02d}": "xy"[number % 2] for number in range(40)}
    images = {path: Image(path, label) for path, label in labels.items()}
    store = small(tmp_path / "store", images, (replace(VECTOR, name="v", pooling="none"), replace(SPATIAL, name="s")))
    head = fit_head(store, "centroid", output=["v", "s"], reduce="flatten")
    assert head.info.shape == (5 + 24,)
    assert fit_head(store, "centroid", output=["s", "v"]).info.shape == (4 + 5,)
    expected = head.predict_features(store.arrays("v")[0], store.arrays("s")[0])
    np.testing.assert_allclose(predict_store(head, store)["x"], expected[:, 0], atol=1e-6)
    with pytest.raises(UsageError, match="expected features of 2 blocks"):
        head.predict_features(store.arrays("v")[0])
    with pytest.raises(UsageError, match="as many rows of each block, got 40, 39"):
        head.predict_features(store.arrays("v")[0], store.arrays("s")[0][1:])


def test_altered_views_are_joined_with_the_same_ones_alone(stub, colors, tmp_path):
    stores = [extracted(colors, tmp_path / name, image_size=size, augment=1) for name, size in SIZES.items()]
    head = fit_head(stores, "centroid")
    assert len(predict_store(head, stores)) == 60
    other = extracted(colors, tmp_path / "other", image_size=(32, 32))
    with pytest.raises(UsageError, match="other altered views"):
        fit_head([stores[0], other])
    plain = extracted(colors, tmp_path / "plain", image_size=SIZES["large"])
    assert len(predict_store(head, [stores[0], plain])) == 60


# Using a head


def test_the_stores_of_a_head_are_found_in_any_order(head, stores, colors, tmp_path):
    forward, backward = predict_store(head, stores), predict_store(head, stores[::-1])
    assert forward.equals(backward)
    assert (
        evaluate_head(head, stores[::-1], EvaluationOptions(split=TEST))["evaluation"]["accuracy"]
        == head.metrics["test"]["accuracy"]
    )
    with pytest.raises(RecipeMismatch, match=r"name one --features for each recipe of the head \(2\)"):
        predict_store(head, stores[0])
    other = extracted(colors, tmp_path / "other", image_size=(32, 32))
    with pytest.raises(RecipeMismatch, match=r"other: no output features of"):
        predict_store(head, [stores[0], other])
    with pytest.raises(RecipeMismatch, match="leave it out"):
        predict_store(head, [*stores, other])


def test_an_image_is_decoded_once_for_recipes_of_the_same_pixels(stub, colors, tmp_path, monkeypatch):
    same = {"image_size": (16, 16)}
    stores = [extracted(colors, tmp_path / name, **same, backbone=name) for name in ("mobilenet", "mobilenet_v2")]
    stores.append(extracted(colors, tmp_path / "large", image_size=(24, 24)))
    decoded, decode = [], extract.images.loader.decode

    def counting(*args):
        decoded.append(args)
        return decode(*args)

    monkeypatch.setattr(extract.images.loader, "decode", counting)
    for joined, expected in ((stores[:2], 60), (stores, 120)):
        head = fit_head(joined, "centroid")
        decoded.clear()
        table = head.predict(colors)
        assert len(decoded) == expected
        np.testing.assert_allclose(table["red"], predict_store(head, joined)["red"], atol=1e-3)


def test_an_image_that_cannot_be_read_is_a_row(head, colors, tmp_path):
    (tmp_path / "half.png").write_bytes((colors / "red" / "000.png").read_bytes()[:600])
    table = head.predict([colors / "red" / "000.png", tmp_path / "half.png", colors / "blue" / "000.png"])
    assert [error is None for error in table["error"].to_pylist()] == [True, False, True]
    assert table["predicted"].to_pylist() == ["red", None, "blue"]


def test_weights_are_named_for_each_recipe(head, colors):
    with pytest.raises(UsageError, match="--weights names 1 places, and the head has 2 recipes"):
        head.predict(colors, weights="random")
    assert head.predict(colors / "red", weights=["random", "random"])["error"].null_count == 20


def test_a_page_shows_the_joined_features(head, stores, tmp_path):
    results = read_results(head.save(tmp_path / "head"))
    values, _ = find_features(results.info).take(stores[0].table()["path"].to_pylist())
    assert values.shape == (60, 6)
    first, second = np.split(values.astype(np.float64), 2, axis=1)
    assert first.var(axis=0).sum() == pytest.approx(second.var(axis=0).sum(), rel=0.2)


# Scaling


def joined_features(seed, rows, widths):
    rng = np.random.default_rng(seed)
    return [rng.normal(rng.normal(), rng.uniform(0.1, 3), (rows, width)).astype(np.float32) for width in widths]


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.integers(-12, 12),
    st.integers(0, 1000),
)
@settings(deadline=None, max_examples=40)
def test_blocks_have_the_same_variance_whatever_their_size(seed, widths, power, shift):
    blocks = joined_features(seed, 30, widths)
    blocks[0] = blocks[0] * np.float32(2.0**power) + np.float32(shift * 2.0**power)
    features, rows = Joined(tuple(map(InMemory, blocks))), np.arange(5, 25)
    scales = block_scales(features, rows, widths)
    totals = [
        float((values[rows].astype(np.float64) * scale).var(axis=0).sum())
        for values, scale in zip(blocks, scales, strict=True)
    ]
    np.testing.assert_allclose(totals, sum(widths) / len(widths), rtol=1e-3)


def test_a_constant_block_stays_as_it_is():
    features = Joined((InMemory(np.ones((8, 2), np.float32)), InMemory(np.eye(8, 3, dtype=np.float32))))
    assert block_scales(features, np.arange(8), (2, 3))[0] == 1.0


@pytest.mark.parametrize("name", [name for name, kind in HEADS.items() if kind.scales])
def test_heads_that_scale_every_feature_keep_wide_blocks_from_deciding(name):
    blocks, targets, widths = joined_features(2, 60, (2, 40)), np.arange(60) % 2, (2, 40)
    features = Joined(tuple(map(InMemory, blocks)))
    spec = HeadSpec(name, HEADS[name].complete({}), (42,), Task(("a", "b"), False), "none", 0, blocks=widths)
    classifier = build_classifier(spec)
    classifier.fit(Source(features, np.arange(60), targets), None, np.arange(60))
    scaled = classifier.model.scaler_.transform(features.take(np.arange(60)))
    totals = [block.var(axis=0).sum() for block in np.split(scaled, [2], axis=1)]
    np.testing.assert_allclose(totals, 21, rtol=0.02)
    again = load_estimator("head.skops", dump_estimator(classifier.model))
    np.testing.assert_array_equal(
        again.predict_proba(features.take(np.arange(9))), classifier.predict_proba(features.take(np.arange(9)))
    )
    assert tuple(again.blocks) == widths
    assert "blocks" not in build_classifier(replace(spec, blocks=())).model.__getstate__()
    assert tuple(clone(classifier.model).blocks) == widths


@pytest.mark.parametrize("name", ["knn", "logistic", "dense", "sgd"])
def test_the_unit_of_a_block_does_not_matter(name):
    blocks, targets = joined_features(1, 60, (3, 5)), np.arange(60) % 2
    blocks[1][:, 0] += targets
    found = []
    for factor in (1.0, 1024.0):
        features = Joined((InMemory(blocks[0] * np.float32(factor)), InMemory(blocks[1])))
        parameters = HEADS[name].complete({"epochs": 3} if name == "dense" else {})
        spec = HeadSpec(name, parameters, (8,), Task(("a", "b"), multi_label=False), "none", 0)
        classifier = BalancedClassifier(build_classifier(spec), (3, 5))
        classifier.fit(Source(features, np.arange(60), targets), None, np.arange(60))
        found.append(classifier.predict_proba(features.take(np.arange(60))))
    np.testing.assert_allclose(*found, atol=1e-5)


def test_joined_batches_come_in_one_order():
    blocks = joined_features(0, 20, (2, 3))
    joined = Joined(tuple(map(InMemory, blocks)))
    rows = np.arange(3, 20)
    for seed in (None, 4):
        parts = list(joined.batches(rows, 6, seed))
        order = np.concatenate([part for _, part in parts])
        assert sorted(order.tolist()) == rows.tolist()
        np.testing.assert_array_equal(np.concatenate([values for values, _ in parts]), np.hstack(blocks)[order])
