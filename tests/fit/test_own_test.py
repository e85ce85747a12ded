"""A head that is evaluated on its own test images later has what `fit head --evaluate-test` would have given it."""

import numpy as np
import pytest

import fit.head_folder
import tests.store.build
from extract.api import Reporter
from fit import fit_head, load_head
from fit.compare.heads import compare_heads
from fit.evaluation import evaluate_head
from fit.evaluation_options import EvaluationOptions
from fit.head_folder import read_results
from fit.next_steps import next_steps
from fit.page.sources import gather_evaluation, unseen_note
from store import open_store
from store.recipe import Output
from tests.store.build import Image, SmallStore


def evaluate(head, store, labels=None, split=None, exclude_from=None):
    messages = []
    options = EvaluationOptions(labels, exclude_from, split)
    return evaluate_head(head, store, options, reporter=Reporter(messages.append)), " ".join(messages)


def content(folder):
    """What a head's folder says of it, without what depends on the clock."""
    found = read_results(folder)
    return {name: value for name, value in found.metrics.items() if name != "seconds"}, found.predictions


def files(folder):
    return {name: (folder / name).read_bytes() for name in ("metrics.json", "predictions.parquet")}


@pytest.fixture
def other_labels(color_store, tmp_path):
    """Tables of other labels for the colors, by the task that they pose."""
    paths = color_store.images()["path"].to_pylist()
    label_of = {
        "two": lambda path: "cold" if path.startswith("blue") else "warm",
        "several": lambda path: f"{path.partition('/')[0]}|{'even' if int(path[-5]) % 2 == 0 else 'odd'}",
        "number": lambda path: f"{len(path.partition('/')[0]) + int(path[-7:-4]) / 100}",
    }
    for name, label in label_of.items():
        rows = "".join(f"{path},{label(path)}\n" for path in paths)
        (tmp_path / f"{name}.csv").write_text(f"path,label\n{rows}")
    return {name: tmp_path / f"{name}.csv" for name in label_of}


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        (None, {"cv": 3}),
        (None, {"abstain": 0.9}),
        ("two", {"threshold": "recall=1", "positive": "warm"}),
        ("two", {"val": 0.0}),
        ("several", {"threshold": "f1"}),
        ("number", {"task": "regression"}),
    ],
)
def test_a_later_test_leaves_what_an_earlier_one_would_have(color_store, other_labels, tmp_path, labels, options):
    table = other_labels.get(labels)
    folders = [tmp_path / "later", tmp_path / "at once"]
    for folder, at_once in zip(folders, (False, True), strict=True):
        fit_head(color_store, "knn", labels=table, evaluate_test=at_once, **options).save(folder)
    assert content(folders[0])[0]["test"] is None
    for _ in range(2):  # a second look replaces the first one's rows
        head = load_head(folders[0])
        evaluated, said = evaluate(head, color_store, table, "test")
        metrics, predictions = content(folders[0])
        assert (metrics, predictions) == content(folders[1])
        assert head.metrics["test"] == metrics["test"] == evaluated["evaluation"]
        assert "not kept" not in said


def test_near_twins_of_the_fit_count_in_a_later_test(tmp_path, monkeypatch):
    """A fit knows near twins by the features, and its split groups are larger than those of equal bytes."""

    def pairs(_, paths, output):
        numbers = [int(path) for path in paths]
        values = [np.random.default_rng(number // 2).normal(0, 1, output.shape) for number in numbers]
        return np.array(
            [value + number % 2 / 1000 for value, number in zip(values, numbers, strict=True)], output.dtype
        )

    monkeypatch.setattr(tests.store.build, "features_of", pairs)
    images = {f"{number:03d}": Image(f"{number}", "ab"[number // 2 % 2]) for number in range(300)}
    SmallStore(tmp_path / "store", (Output("features", "top", "avg", (64,), "float32"),)).update(images, 300)
    store = open_store(tmp_path / "store")
    at_once = fit_head(store, "centroid", evaluate_test=True)
    head = load_head(fit_head(store, "centroid").save(tmp_path / "head"))
    evaluated, _ = evaluate(head, store)
    assert evaluated["evaluation"] == at_once.metrics["test"]
    groups = content(head.folder)[1]["split_group"].to_pylist()
    assert groups == at_once.predictions["split_group"].to_pylist()
    assert evaluated["evaluation"]["groups"] * 2 == evaluated["rows"]
    assert 0 < evaluated["evaluation"]["accuracy"]["low"] < evaluated["evaluation"]["accuracy"]["high"]


def test_copies_of_test_images_in_train_are_no_test_images(tmp_path):
    """A store's own split may have the same image twice: what is in train is left out of the fit, and of its test."""
    images = {f"{n:02d}": Image(f"{n}", "ab"[n % 2], "test" if n < 10 else "train") for n in range(40)}
    copies = {f"copy-{n}": Image(f"{n}", "ab"[n % 2], "train") for n in range(3)}
    SmallStore(tmp_path / "store").update({**images, **copies}, 50)
    store = open_store(tmp_path / "store")
    at_once = fit_head(store, "centroid", evaluate_test=True)
    assert at_once.metrics["rows"]["test"] == 10
    head = load_head(fit_head(store, "centroid").save(tmp_path / "head"))
    evaluated, _ = evaluate(head, store, None, "test")
    assert (evaluated["rows"], evaluated["evaluation"]) == (10, at_once.metrics["test"])
    assert content(head.folder)[0]["test"] == at_once.metrics["test"]


def test_images_that_the_fit_was_told_to_leave_out_are_left_out_again(tmp_path):
    """In a store with its own split they are still of its split test."""
    SmallStore(tmp_path / "store").update(
        {f"{n:02d}": Image(f"{n}", "ab"[n % 2], "test" if n < 10 else "train") for n in range(40)}, 50
    )
    excluded = tmp_path / "excluded.csv"
    excluded.write_text("path\n03\n04\n30\n")
    store = open_store(tmp_path / "store")
    at_once = fit_head(store, "centroid", exclude_from=excluded, evaluate_test=True)
    head = load_head(fit_head(store, "centroid", exclude_from=excluded).save(tmp_path / "head"))
    (suggested,) = (step for step in next_steps(head, head.folder, ["store"]) if "--split test" in step)
    assert f" --features store --exclude-from {excluded} --split test" in suggested
    assert f" --exclude-from {excluded} --split test" in unseen_note(read_results(head.folder))[0]
    evaluated, said = evaluate(head, store, split="test")
    assert evaluated["rows"] == 10 and content(head.folder)[0]["test"] is None
    assert f"note: the head was fitted with --exclude-from {excluded}: give it here too" in said
    evaluated, said = evaluate(head, store, split="test", exclude_from=excluded)
    assert (evaluated["rows"], evaluated["evaluation"]) == (8, at_once.metrics["test"])
    assert content(head.folder)[0]["test"] == at_once.metrics["test"]
    assert "give it here too" not in said


def test_a_head_in_memory_has_its_test_too(color_store):
    head = fit_head(color_store, "centroid")
    evaluate(head, color_store, None, "test")
    at_once = fit_head(color_store, "centroid", evaluate_test=True)
    assert head.metrics["test"] == at_once.metrics["test"]
    assert head.predictions == at_once.predictions


def test_comparison_and_page_have_a_later_test(color_store, tmp_path):
    folders = [fit_head(color_store, kind).save(tmp_path / kind) for kind in ("centroid", "knn")]
    assert all(head.test is None for head in compare_heads([read_results(folder) for folder in folders]).heads)
    for folder in folders:
        evaluate(load_head(folder), color_store, None, "test")
    heads = compare_heads([read_results(folder) for folder in folders]).heads
    assert [(head.test.rows, head.shared) for head in heads] == [(12, 12), (12, 12)]
    assert sum(head.paired is not None for head in heads) == 1
    assert gather_evaluation(read_results(folders[0])).of == "12 test images"


def test_what_is_not_the_heads_own_test_changes_nothing(color_store, other_labels, stub, colors, tmp_path):
    folder = fit_head(color_store, "centroid", labels=other_labels["two"]).save(tmp_path / "head")
    before = files(folder)
    swapped = other_labels["two"].read_text().replace("blue/000.png,cold", "blue/000.png,warm")
    (tmp_path / "swapped.csv").write_text(swapped)
    evaluate(load_head(folder), color_store, tmp_path / "swapped.csv", "test")
    tested = [path for path, role in zip(*paths_and_roles(folder), strict=True) if role == "T"]
    fewer = "".join(line for line in other_labels["two"].read_text().splitlines(True) if tested[0] not in line)
    (tmp_path / "fewer.csv").write_text(fewer)
    assert evaluate(load_head(folder), color_store, tmp_path / "fewer.csv", "test")[0]["rows"] == 11
    evaluate(load_head(folder), color_store, other_labels["two"], "validation")
    abstaining = load_head(folder)
    abstaining.abstain_below(0.99)
    assert "not kept" in evaluate(abstaining, color_store, other_labels["two"], "test")[1]
    assert files(folder) == before
    evaluate(load_head(folder), color_store, other_labels["two"], "test")
    assert files(folder) != before


def paths_and_roles(folder):
    images = load_head(folder).experiment.images
    return images.path, images.kept_fit


@pytest.mark.parametrize("stopped", ["_write_predictions", "_write_json"])
def test_a_test_that_is_stopped_leaves_whole_files(color_store, tmp_path, monkeypatch, stopped):
    folder = fit_head(color_store, "centroid").save(tmp_path / "centroid")
    other = fit_head(color_store, "knn", evaluate_test=True).save(tmp_path / "knn")
    before = files(folder)

    def write_half(path, *_):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit.head_folder, stopped, write_half)
        with pytest.raises(KeyboardInterrupt):
            evaluate(load_head(folder), color_store, None, "test")
    assert (folder / "metrics.json").read_bytes() == before["metrics.json"]
    assert not list(folder.glob(".*"))
    assert len(compare_heads([read_results(folder), read_results(other)]).heads) == 2
    assert load_head(folder).metrics["test"] is None
    evaluate(load_head(folder), color_store, None, "test")
    assert content(folder)[0]["test"]["rows"] == content(folder)[1]["split"].to_pylist().count("test") == 12


def test_a_folder_that_cannot_take_the_test_is_named_and_the_numbers_are_given(color_store, tmp_path):
    folder = fit_head(color_store, "centroid").save(tmp_path / "head")
    (folder / "predictions.parquet").write_bytes(b"PAR1")
    evaluated, said = evaluate(load_head(folder), color_store, None, "test")
    assert evaluated["rows"] == 12
    assert f"warning: this test is not kept in {folder}: " in said
