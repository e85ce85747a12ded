"""experiment.json: what a fit was, and fitting again from it."""

import json
import sys

import pytest
from sklearn.linear_model import LogisticRegression

from extract.api import Reporter
from fit import fit_head, load_head
from fit.commands import app
from fit.experiment_record import ExperimentRecord
from fit.head_folder import read_experiment, read_info
from fit.like import as_like
from fit.options import FitOptions
from fit.page.run import command_blocks
from fit.train import fit_with
from store import open_store
from store.command_line import run_app
from store.errors import DamagedHead, UsageError
from store.schema import InvalidField
from tests.store.build import Image, SmallStore


@pytest.fixture
def store(tmp_path):
    images = {
        f"{number:02d}": Image(f"{number // 2}", "abc"[number // 2 % 3], group=f"g{number // 4}")
        for number in range(96)
    }
    SmallStore(tmp_path / "store").update(images)
    return open_store(tmp_path / "store")


def test_each_image_has_its_role(store):
    head = fit_head(store, "centroid", group_by="group")
    images = head.experiment.images
    assert list(images.path) == store.images()["path"].to_pylist()
    assert len(images) == len(images.first_fit) == len(images.kept_fit) == 96
    rows = head.metrics["rows"]
    assert {letter: images.first_fit.count(letter) for letter in "LSVT-"} == {
        "L": rows["train"], "S": 0, "V": rows["validation"], "T": rows["test"], "-": 0,
    }  # fmt: skip
    assert images.kept_fit.count("L") == rows["train"] + rows["validation"]
    assert set(images.group) == {f"g{number}" for number in range(24)}
    assert sum(head.experiment.class_counts) == head.experiment.train == rows["train"]


def test_of_a_head_that_stops_early_some_images_stop_it(store):
    images = fit_head(store, "dense", parameters={"epochs": 1}).experiment.images
    for letters in (images.first_fit, images.kept_fit):
        assert 0.1 < letters.count("S") / (letters.count("S") + letters.count("L")) < 0.25


def test_a_record_is_the_same_after_reading(store, tmp_path):
    head = fit_head(store, "centroid", group_by="group")
    loaded = load_head(head.save(tmp_path / "head"))
    assert loaded.experiment == head.experiment
    assert load_head(loaded.save(tmp_path / "copy")).experiment == head.experiment
    plain = fit_head(store, "centroid")
    assert ExperimentRecord.from_dict(json.loads(json.dumps(plain.experiment.to_dict()))) == plain.experiment


def test_labels_and_test_images_have_digests(store):
    first, again = (fit_head(store, "centroid").experiment for _ in range(2))
    other = fit_head(store, "centroid", seed=1).experiment
    assert first.labels_digest == again.labels_digest == other.labels_digest
    assert first.test_digest == again.test_digest != other.test_digest


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"train": "many"},
        {"class_counts": [1]},
        {"options": {}},
        {"images": {}},
    ],
)
def test_a_damaged_record_is_said_to_be(store, tmp_path, change):
    folder = fit_head(store, "centroid").save(tmp_path / "head")
    values = json.loads((folder / "experiment.json").read_text())
    (folder / "experiment.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(DamagedHead, match="missing or invalid field"):
        _ = load_head(folder).experiment


@pytest.mark.parametrize(
    "change",
    [{"sha256": "0"}, {"first_fit": "L"}, {"kept_fit": "x" * 96}, {"group": [99] * 96}, {"split_group": ["1"] * 96}],
)
def test_a_record_with_impossible_columns_is_refused(store, change):
    values = json.loads(json.dumps(fit_head(store, "centroid", group_by="group").experiment.to_dict()))
    with pytest.raises(InvalidField):
        ExperimentRecord.from_dict({**values, "images": {**values["images"], **change}})


def test_a_head_is_fitted_again_from_its_folder(store, tmp_path):
    lines = [f"{path},{'x' if int(path) % 3 else 'y'}" for path in store.images()["path"].to_pylist()]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    (tmp_path / "left-out.csv").write_text("path\n" + "\n".join(line.split(",")[0] for line in lines[:7]) + "\n")
    given = FitOptions(
        "sgd", labels=tmp_path / "labels.csv", exclude_from=tmp_path / "left-out.csv", val=0.1, test=0.3,
        group_by="group", seed=4, class_weight="balanced", parameters={"epochs": 7}, cv=3,
    )  # fmt: skip
    head = fit_with(store, given)
    folder = head.save(tmp_path / "head")
    (command,) = (
        block.text.replace(" \\\n   ", "")
        for block in command_blocks(head.info, folder, head.experiment.choices, None)
        if block.title == "Fit a head with the same parameters"
    )
    tables = f"--labels {tmp_path}/labels.csv --exclude-from {tmp_path}/left-out.csv"
    assert f" {tables} --val 0.1 --test 0.3 --group-by group --class-weight balanced --seed 4 " in command
    again = fit_with(store, as_like(folder, {}))
    assert {**again.metrics, "seconds": 0} == {**head.metrics, "seconds": 0}
    assert again.experiment == head.experiment
    changed = as_like(folder, {"seed": 9, "parameters": {"alpha": "0.1"}})
    assert (changed.head, changed.seed, changed.val, changed.cv) == ("sgd", 9, 0.1, 3)
    assert changed.parameters["epochs"] == 7
    assert changed.parameters["alpha"] == "0.1"
    other = as_like(folder, {"head": "forest"})
    assert (other.head, other.parameters, other.test) == ("forest", {}, 0.3)


@pytest.mark.parametrize(
    ("words", "config"),
    [
        (["--head", "logistic", "--val", "0.2", "--cv", "0", "--seed", "0", "--class-weight", "none"], ""),
        ([], 'head = "logistic"\nval = 0.2\n[fit.head]\ncv = 0\nseed = 0\nclass-weight = "none"\n'),
    ],
    ids=["on the command line", "in a file"],
)
def test_what_is_given_beside_a_head_wins_also_where_it_is_the_default(store, tmp_path, monkeypatch, words, config):
    head = fit_head(
        store, "sgd", parameters={"epochs": 7}, val=0.1, test=0.3, cv=2, repeats=2, seed=4, class_weight="balanced"
    )
    folder, again = head.save(tmp_path / "head"), tmp_path / "again"
    (tmp_path / "job.toml").write_text(config)
    places = ["--features", tmp_path / "store", "--like", folder, "--out", again, "--config", tmp_path / "job.toml"]
    monkeypatch.setattr(sys, "argv", ["fit", "head", "--no-report", *map(str, places), *words])
    assert run_app(app, "fit") == 0
    info, choices = read_info(again), read_experiment(again).choices
    assert (info.head, info.class_weight, info.seed) == ("logistic", "none", 0)
    assert (choices.val, choices.test, choices.cv, choices.repeats) == (0.2, 0.3, 0, 1)
    asked = as_like(folder, {"head": "logistic", "val": 0.2, "cv": 0})
    assert (asked.head, asked.val, asked.cv, asked.repeats, asked.seed) == ("logistic", 0.2, 0, 1, 4)


def test_python_fits_again_as_the_command_line_does(store, tmp_path):
    folder = fit_head(store, "sgd", epochs=7, val=0.1, seed=4, class_weight="balanced").save(tmp_path / "head")
    again = fit_head(store, like=folder)
    assert {**again.metrics, "seconds": 0} == {**load_head(folder).metrics, "seconds": 0}
    changed = fit_head(store, like=str(folder), epochs=9, class_weight="none", seed=0)
    assert (changed.info.head, changed.info.parameters["epochs"]) == ("sgd", 9)
    assert (changed.info.class_weight, changed.info.seed) == ("none", 0)
    assert changed.experiment.choices.val == 0.1
    assert fit_head(store, "logistic", like=folder).info.head == "logistic"
    with pytest.warns(DeprecationWarning, match="now val"):
        assert fit_head(store, like=folder, validation=0.2).experiment.choices.val == 0.2
    with pytest.raises(UsageError, match="no head at"):
        fit_head(store, like=tmp_path / "missing")


def test_an_option_may_go_with_one_of_the_heads_own(store, tmp_path, monkeypatch):
    folder = fit_head(store, "centroid", cv=2, val=0.1, test=0.1).save(tmp_path / "head")
    assert fit_head(store, like=folder, repeats=2).metrics["cv_repeats"]["repeats"] == 2
    assert fit_head(store, like=folder, val=0.8).experiment.choices.test == 0.1
    words = ["--features", tmp_path / "store", "--like", folder, "--repeats", "2", "--out", tmp_path / "again"]
    monkeypatch.setattr(sys, "argv", ["fit", "head", "--no-report", *map(str, words)])
    assert run_app(app, "fit") == 0
    assert read_experiment(tmp_path / "again").choices.repeats == 2
    with pytest.raises(UsageError, match="leave nothing to train on"):
        fit_head(store, like=folder, val=0.9)


def test_the_function_of_a_custom_head_is_enough_to_fit_it_again(store, tmp_path):
    def build(shape, outputs, seed):
        return LogisticRegression(max_iter=20)

    folder = fit_head(store, "tests:build", custom_head=build).save(tmp_path / "head")
    with pytest.raises(UsageError, match="never names code to run"):
        fit_head(store, like=folder)
    assert fit_head(store, like=folder, custom_head=build).info.head == "tests:build"


def test_a_head_of_an_earlier_version_says_what_it_knows(store, tmp_path):
    folder = fit_head(store, "centroid", seed=3).save(tmp_path / "head")
    (folder / "experiment.json").unlink()
    messages = []
    options = as_like(folder, {}, Reporter(messages.append))
    assert (options.head, options.seed) == ("centroid", 3)
    assert "was written by 0.5.0" in messages[0]
    assert load_head(folder).experiment is None


def test_a_folder_alone_names_no_code_to_fit_with(store, tmp_path):
    folder = fit_head(store, "centroid").save(tmp_path / "head")
    described = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps({**described, "head": "os:system"}))
    with pytest.raises(UsageError, match="a head's folder alone never names code to run"):
        as_like(folder, {})
    assert as_like(folder, {"head": "forest"}).head == "forest"
