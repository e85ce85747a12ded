"""A head is evaluated on images that it has not seen, wherever they are and whatever they are called."""

import json
import shutil

import pytest

from extract import extract as run_extract
from extract.api import Reporter
from fit import fit_head, load_head
from fit.evaluation import evaluate_head
from fit.evaluation_options import EvaluationOptions
from fit.options import FitOptions
from fit.train import fit_with
from store import open_store
from store.errors import UsageError
from tests.store.build import Image, SmallStore

OPTIONS = {"backbone": "mobilenet", "weights": "random", "image_size": (16, 16)}


def images_with(head, letters, which="kept_fit"):
    images = head.experiment.images
    return [path for path, role in zip(images.path, getattr(images, which), strict=True) if role in letters]


def evaluate(head, store, **options):
    messages = []
    return evaluate_head(head, store, EvaluationOptions(**options), Reporter(messages.append)), " ".join(messages)


@pytest.fixture
def saved(color_store, tmp_path):
    return load_head(fit_head(color_store, "centroid").save(tmp_path / "heads" / "centroid"))


def test_on_its_own_store_a_head_is_evaluated_on_its_test_images_and_the_others_are_counted(saved, color_store):
    metrics, said = evaluate(saved, color_store)
    assert (metrics["rows"], metrics["left_out"]) == (12, 48)
    assert "48 images are left out: the head has learned from them" in said
    tested = fit_head(color_store, "centroid", evaluate_test=True).metrics["test"]
    assert metrics["evaluation"] == tested


def test_the_split_test_of_a_store_without_splits_is_that_of_the_fit(saved, color_store):
    metrics, said = evaluate(saved, color_store, split="test")
    assert (metrics["rows"], metrics["left_out"]) == (12, 0)
    assert "left out" not in said


def test_a_split_that_no_image_has_is_refused_with_those_that_there_are(saved, color_store):
    with pytest.raises(
        UsageError, match=r"no image of split 'val': .* have test, train, validation; leave --split out"
    ):
        evaluate(saved, color_store, split="val")
    (saved.folder / "experiment.json").unlink()  # as of 0.5.0
    with pytest.raises(UsageError, match=r"no image of split 'val': .* have no splits; leave --split out"):
        evaluate(load_head(saved.folder), color_store, split="val")


def test_what_a_head_has_learned_from_is_evaluated_only_where_it_is_named(saved, color_store):
    metrics, said = evaluate(saved, color_store, split="train")
    assert metrics["rows"] == 36
    assert "warning: the head has learned from 36 of these images" in said


def test_seen_images_are_known_under_other_names_and_new_ones_are_evaluated(saved, stub, colors, tmp_path):
    for number, path in enumerate(images_with(saved, "LS")[:9]):
        target = tmp_path / "data" / path.partition("/")[0] / f"renamed{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(colors / path, target)
    run_extract(tmp_path / "data", out=tmp_path / "seen", **OPTIONS)
    with pytest.raises(UsageError, match="the head has seen all 9 images"):
        evaluate_head(saved, open_store(tmp_path / "seen"))
    for number, path in enumerate(images_with(saved, "T")[:4]):
        target = tmp_path / "data" / path.partition("/")[0] / f"new{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((colors / path).read_bytes() + b"\0")  # the same pixels, other bytes
    run_extract(tmp_path / "data", out=tmp_path / "more", **OPTIONS)
    metrics, said = evaluate(saved, open_store(tmp_path / "more"))
    assert (metrics["rows"], metrics["left_out"], metrics["test_looks"]) == (4, 9, 0)
    assert "9 images are left out" in said


def test_the_groups_of_the_fit_are_kept_where_a_head_is_evaluated(stub, colors, tmp_path):
    """New images of a group that the head has learned from say as little as the old ones."""
    images = {f"{number:02d}": Image(f"{number}", "ab"[number % 2], group=f"g{number // 4}") for number in range(40)}
    store = SmallStore(tmp_path / "store")
    store.update(images)
    head = fit_head(tmp_path / "store", "centroid", group_by="group")
    learned = {images[path].group for path in images_with(head, "LS")}
    others = {f"n{number}": Image(f"new {number}", "ab"[number % 2], group=f"g{number // 4}") for number in range(48)}
    SmallStore(tmp_path / "other").update(others)
    metrics, _ = evaluate(head, open_store(tmp_path / "other"))
    assert metrics["rows"] == sum(image.group not in learned for image in others.values()) > 8
    assert metrics["left_out"] == sum(image.group in learned for image in others.values()) > 0
    store.update({path: Image(image.content, image.label) for path, image in images.items()})
    _, said = evaluate(head, open_store(tmp_path / "store"))
    assert "note: the head was fitted with --group-by group, which these images do not have" in said


def test_the_baseline_is_that_of_the_training_labels(tmp_path):
    images = {f"{number:02d}": Image(f"{number}", "a" if number % 5 else "b") for number in range(60)}
    SmallStore(tmp_path / "store").update(images)
    head = fit_head(tmp_path / "store", "centroid")
    SmallStore(tmp_path / "other").update({f"n{number}": Image(f"n{number}", "b") for number in range(20)})
    metrics, _ = evaluate(head, open_store(tmp_path / "other"))
    assert metrics["baseline"]["accuracy"]["value"] == 0  # it guesses a, which is frequent in train
    assert metrics["baseline_of"] == "training"


def test_looks_at_the_test_images_are_counted_beside_the_head_and_for_its_neighbors(saved, color_store, tmp_path):
    assert not (saved.folder / "seen.json").exists()
    metrics, said = evaluate(saved, color_store, split="test")
    assert metrics["test_looks"] == 1
    assert "the test images have been evaluated once" in said
    fit_head(color_store, "knn", evaluate_test=True).save(tmp_path / "heads" / "knn")
    fit_head(color_store, "knn", seed=5, evaluate_test=True).save(tmp_path / "heads" / "another split")
    metrics, said = evaluate(saved, color_store)
    assert metrics["test_looks"] == 3
    assert "evaluated 3 times, 1 of them by heads beside this one: choosing by these numbers makes them" in said
    looks = json.loads((saved.folder / "seen.json").read_text())["looks"]
    assert [(look["by"], look["images"]) for look in looks] == [("fit evaluate", 12)] * 2
    fit_head(color_store, "ridge", evaluate_test=True).save(saved.folder, force=True)
    assert len(json.loads((saved.folder / "seen.json").read_text())["looks"]) == 3


def test_validation_and_other_images_are_no_look_at_the_test(saved, color_store):
    metrics, _ = evaluate(saved, color_store, split="validation")
    assert metrics["test_looks"] == 0
    assert not (saved.folder / "seen.json").exists()


def test_the_test_is_evaluated_on_request_alone(color_store):
    plain, asked = (fit_head(color_store, "centroid", evaluate_test=asked) for asked in (False, True))
    assert plain.metrics["test"] is None
    assert plain.metrics["confusion_of"] == "validation"
    assert "test" not in plain.predictions["split"].to_pylist()
    assert asked.metrics["test"]["rows"] == 12
    assert plain.metrics["validation"] == asked.metrics["validation"]


def test_repeats_of_a_cross_validation_have_folds_of_their_own(color_store):
    metrics = fit_head(color_store, "centroid", cv=3, repeats=2).metrics
    folds = metrics["cv_folds"]
    assert [(fold["repeat"], fold["fold"]) for fold in folds] == [(r, f) for r in range(2) for f in range(3)]
    assert all(fold["learned"] + fold["evaluated"] == 48 for fold in folds)
    once = fit_head(color_store, "centroid", cv=3).metrics
    assert once["cv_folds"] == folds[:3]
    assert once["cv"] == metrics["cv"]
    first = sum(fold["accuracy"] * fold["evaluated"] for fold in folds[:3]) / 48
    assert metrics["cv"]["accuracy"]["value"] == pytest.approx(first)
    assert metrics["cv_repeats"]["repeats"] == 2
    with pytest.raises(UsageError, match="--repeats is 3, and there is no cross-validation to repeat: give --cv"):
        fit_head(color_store, "centroid", repeats=3)
    with pytest.raises(UsageError, match="--repeats is 0: expected 1 or more"):
        FitOptions(repeats=0)


def test_cross_validation_honors_a_stores_own_split(tmp_path):
    images = {
        f"{number:02d}": Image(f"{number}", "ab"[number % 2], split="test" if number < 10 else "train")
        for number in range(50)
    }
    SmallStore(tmp_path / "store").update(images)
    head = fit_with(open_store(tmp_path / "store"), FitOptions("centroid", cv=4))
    crossed = {row["path"] for row in head.predictions.to_pylist() if row["split"] == "cv"}
    assert crossed == {path for path in images if int(path) >= 10}
