import dataclasses
import inspect
import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.csv
import pytest
from sklearn.linear_model import LogisticRegression

from extract import extract as run_extract
from extract.api import Reporter
from fit import fit_head, load_head
from fit.evaluation import evaluate_head
from fit.experiment_record import TESTS
from fit.heads.table import HEADS
from fit.next_steps import next_steps
from fit.options import FitOptions
from fit.page.run import command_blocks
from fit.prediction import predict_store
from fit.predictions import split_group_column
from fit.train import fit_with
from store import open_store
from store.errors import RecipeMismatch, StoppedEarly, UsageError

QUICK = {
    "forest": {"trees": 20},
    "boosting": {"rounds": 10},
    "dense": {"epochs": 5},
    "conv": {"epochs": 3, "kernel": 2, "filters": 8},
    "cnn": {"epochs": 2, "filters": "8,8"},
    "dropout_dense": {"epochs": 2, "units": 16},
    "se": {"epochs": 2, "units": 16},
    "mobilenet_dense": {"epochs": 2, "units": "16,16"},
}
ANYWHERE = sorted(name for name, kind in HEADS.items() if not kind.continues)
"""Heads that care nothing for where features come from, and so take a stub's."""


def paths_of_test(head):
    """The test images, as experiment.json has them."""
    images = head.experiment.images
    return [path for path, role in zip(images.path, images.kept_fit, strict=True) if role == TESTS]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("dropout_dense", "se", "mobilenet_dense", "conv")))
        for name in ANYWHERE
    ],
)
def test_every_head_learns_colors(name, color_store):
    head = fit_head(color_store, name, parameters=QUICK.get(name, {}), evaluate_test=True)
    metrics = head.metrics
    json.dumps(metrics, allow_nan=False)
    assert metrics["rows"] == {"train": 36, "validation": 12, "test": 12}
    if HEADS[name].library != "keras":  # some epochs only
        assert metrics["test"]["accuracy"]["value"] >= 0.9
    assert metrics["baseline"]["accuracy"]["value"] == pytest.approx(1 / 3, abs=0.01)
    assert metrics["fingerprint"] == color_store.fingerprint
    assert np.sum(metrics["confusion"]) == 12
    table = head.predictions
    assert table.column_names == [
        "path",
        "label",
        "predicted",
        "probability",
        "blue",
        "green",
        "red",
        "split",
        "split_group",
    ]
    assert {split: table["split"].to_pylist().count(split) for split in ("train", "validation", "test")} == metrics[
        "rows"
    ]


@pytest.mark.parametrize("name", ["logistic", "forest", "sgd", "mlp"])
def test_the_same_seed_gives_the_same_numbers(name, color_store):
    first, second = (fit_head(color_store, name, cv=3, seed=4, evaluate_test=True).metrics for _ in range(2))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_cross_validation_predicts_every_row_once(color_store):
    head = fit_head(color_store, "logistic", cv=4)
    held_out = head.predictions.filter(pyarrow.compute.equal(head.predictions["split"], "cv"))
    test = set(paths_of_test(head))
    assert held_out["path"].to_pylist() == [
        path for path in color_store.table()["path"].to_pylist() if path not in test
    ]
    assert head.metrics["cv"]["rows"] == 48
    right = np.mean(
        [a == b for a, b in zip(held_out["label"].to_pylist(), held_out["predicted"].to_pylist(), strict=True)]
    )
    assert head.metrics["cv"]["accuracy"]["value"] == pytest.approx(right)


@pytest.mark.slow
def test_cross_validation_of_a_network(color_store):
    head = fit_head(color_store, "dense", cv=2, parameters={"epochs": 2})
    assert head.metrics["cv"]["rows"] == 48
    assert len(head.metrics["history"]["val_loss"]) == 2


def test_other_labels_without_extracting(color_store, tmp_path):
    paths = color_store.table()["path"].to_pylist()
    lines = [f"{path},{'warm' if path.startswith('red') else 'cold'}" for path in paths[5:]]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    messages = []
    head = fit_with(color_store, FitOptions(labels=tmp_path / "labels.csv"), Reporter(messages.append))
    assert head.classes == ("cold", "warm")
    assert sum(head.metrics["rows"].values()) == 55
    assert any("5 images of the store are not in" in line for line in messages)


@pytest.mark.parametrize("name", ["logistic", "dense", "cnn", "knn"])
def test_several_labels(color_store, tmp_path, name):
    paths = color_store.table()["path"].to_pylist()
    words = {"red": "warm", "green": "cold|leaf", "blue": "cold"}
    (tmp_path / "labels.csv").write_text(
        "path,label\n" + "".join(f"{path},{words[path.split('/')[0]]}\n" for path in paths)
    )
    head = fit_head(color_store, name, labels=tmp_path / "labels.csv", parameters=QUICK.get(name, {}))
    assert head.classes == ("cold", "leaf", "warm")
    assert np.shape(head.metrics["confusion"]) == (3, 4)
    predicted = set(head.predictions["predicted"].to_pylist())
    if HEADS[name].library != "keras":  # some epochs only
        assert "cold|leaf" in predicted
    loaded = load_head(head.save(tmp_path / name))
    X, _ = color_store.arrays()
    assert np.array_equal(loaded.predict_features(X), head.predict_features(X))
    with pytest.raises(UsageError, match=r"several labels .* use one of logistic, knn, dense, cnn, tail"):
        fit_head(color_store, "forest", labels=tmp_path / "labels.csv")


def grouped(color_store, tmp_path, group):
    paths = color_store.table()["path"].to_pylist()
    lines = [f"{path},{path.split('/')[0]},{group(path)}" for path in paths]
    (tmp_path / "groups.csv").write_text("path,label,group\n" + "\n".join(lines) + "\n")
    return tmp_path / "groups.csv"


def test_groups_stay_together(color_store, tmp_path):
    table = grouped(color_store, tmp_path, lambda path: int(path[-7:-4]) // 4)
    head = fit_head(color_store, labels=table, group_by="group", cv=3, evaluate_test=True)
    sides = {}
    for row in head.predictions.to_pylist():
        if row["split"] != "cv":
            sides.setdefault(int(row["path"][-7:-4]) // 4, set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())


def test_predictions_say_the_split_group_of_each_row(color_store, tmp_path):
    table = grouped(color_store, tmp_path, lambda path: int(path[-7:-4]) // 4)
    predictions = fit_head(color_store, labels=table, group_by="group", cv=3, evaluate_test=True).predictions
    assert predictions.schema.field("split_group").type == pyarrow.int64()
    groups = {}
    for path, number in zip(predictions["path"].to_pylist(), split_group_column(predictions).tolist(), strict=True):
        groups.setdefault(int(path[-7:-4]) // 4, set()).add(number)
    assert all(len(numbers) == 1 for numbers in groups.values())  # in cv too
    assert len(set.union(*groups.values())) == 5


def test_predictions_of_earlier_versions_have_no_split_groups():
    assert split_group_column(pyarrow.table({"path": ["a"]})) is None
    assert split_group_column(pyarrow.table({"split_group": [0.5]})) is None  # the probability of a class of that name


def test_a_class_of_one_group_and_a_column_that_is_not_there(color_store, tmp_path):
    table = grouped(color_store, tmp_path, lambda path: "same" if path.startswith("red") else path)
    with pytest.raises(UsageError, match="class red are identical, near twins or of one group"):
        fit_head(color_store, labels=table, group_by="group")
    with pytest.raises(UsageError, match="--group-by patient: there is no such column"):
        fit_head(color_store, group_by="patient")
    with pytest.raises(UsageError, match="no image has one"):
        fit_head(color_store, group_by="group")


def test_twins_are_reported_and_stay_together(stub, colors, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(colors, data)
    for number in range(5):
        shutil.copy(data / "red" / f"{number:03d}.png", data / "red" / f"twin{number}.png")
    run_extract(data, out=tmp_path / "store", backbone="mobilenet", weights="random", image_size=(16, 16))
    messages = []
    head = fit_with(open_store(tmp_path / "store"), FitOptions(evaluate_test=True), Reporter(messages.append))
    assert any(line.startswith("10 images are identical to another (5 different ones)") for line in messages)
    splits = {row["path"]: row["split"] for row in head.predictions.to_pylist()}
    assert all(splits[f"red/{number:03d}.png"] == splits[f"red/twin{number}.png"] for number in range(5))


def test_the_stores_own_split_is_kept(stub, colors, tmp_path):
    for path in sorted(colors.rglob("*.png")):
        split = "test" if int(path.stem) % 4 == 0 else "train"
        target = tmp_path / "data" / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    run_extract(tmp_path / "data", out=tmp_path / "store", backbone="mobilenet", weights="random", image_size=(16, 16))
    head = fit_head(tmp_path / "store", evaluate_test=True)
    assert head.metrics["rows"] == {"train": 36, "validation": 9, "test": 15}
    for row in head.predictions.to_pylist():
        assert (row["split"] == "test") == row["path"].startswith("test/")
    shutil.rmtree(tmp_path / "data" / "test")
    run_extract(tmp_path / "data", out=tmp_path / "other", backbone="mobilenet", weights="random", image_size=(16, 16))
    assert fit_head(tmp_path / "other", evaluate_test=True).metrics["test"] is None


def test_the_first_parameters_of_fit_head_are_the_store_and_the_head():
    parameters = list(inspect.signature(fit_head).parameters)
    assert parameters[: 1 + len(dataclasses.fields(FitOptions))] == [
        "store",
        *(field.name for field in dataclasses.fields(FitOptions)),
    ]
    assert parameters[:2] == ["store", "head"]


def test_nothing_waits_for_keras_before_a_head_needs_it():
    script = "import sys, fit.train, fit.evaluation, fit.head; print([name for name in ('keras', 'sklearn') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_an_unfinished_store_is_refused(color_store):
    for record in (color_store.folder.root / "commit").rglob("*.json"):
        record.unlink()
    with pytest.raises(StoppedEarly, match="not finished: run the same `extract run` again"):
        fit_head(open_store(color_store.folder.root))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"head": "logistc"}, "did you mean logistic"),
        (
            {"head": "forest", "epochs": 3},
            "--epochs is not for the head forest, but for linear, sgd, mlp, dense, conv, cnn,",
        ),
        ({"head": "knn", "class_weight": "balanced"}, "has no weights"),
        ({"head": "forest", "tensorboard": "logs"}, "--tensorboard is not for .* Keras fits: dense, conv, cnn,"),
        ({"val": 0.6, "test": 0.5}, "leave nothing to train on"),
        ({"cv": 1}, "--cv is 1"),
        ({"reduce": "sum"}, "--reduce is 'sum'"),
        ({"head": "conv", "reduce": "avg"}, "takes tensors as they are"),
        ({"head": "conv", "parameters": {"kernel": 9}}, "needs tensors of 10 x 10"),
        ({"head": "dense", "parameters": {"optimizer": "fast"}}, "unknown optimizer 'fast'"),
        ({"head": "linear_svm", "parameters": {"c": -1.0}}, "the head linear_svm refused"),
        ({"head": "knn", "parameters": {"neighbors": 0}}, "neighbors is 0"),
        ({"head": "cnn", "parameters": {"activation": "tanh"}}, "expected one of relu, prelu, leaky_relu"),
        ({"head": "cnn", "parameters": {"padding": "full"}}, "padding is 'full': expected one of same, valid"),
        ({"head": "cnn", "parameters": {"flip": "both"}}, "flip is 'both': expected one of horizontal, none"),
        ({"head": "cnn", "parameters": {"filters": "8,many"}}, "filters is '8,many': expected whole numbers"),
        ({"head": "cnn"}, "more blocks than these"),
        ({"head": "cnn", "parameters": {"filters": "8", "zoom": 3.0}}, "the head cnn refused"),
        ({"head": "se", "parameters": {"ratio": 0}}, "ratio is 0"),
        ({"head": "dense", "parameters": {"learning_rate": 1e38}}, "the head.s probabilities are not numbers"),
        ({"head": "mobilenet_dense", "parameters": {"units": "0"}}, "units is '0': expected whole numbers"),
        ({"output": "logits"}, "there is no output 'logits'"),
        ({"color": "red"}, "there is no parameter 'color'"),
    ],
)
def test_wrong_requests_are_refused(color_store, options, words):
    with pytest.raises(UsageError, match=words):
        fit_head(color_store, **options)


def test_evaluating_elsewhere(color_store, stub, colors, tmp_path):
    head = fit_head(color_store)
    metrics = evaluate_head(head, color_store)
    assert metrics["rows"] == 12
    assert metrics["evaluation"]["accuracy"]["value"] > 0.9
    run_extract(colors, out=tmp_path / "other", backbone="mobilenet", weights="random", image_size=(24, 24))
    with pytest.raises(RecipeMismatch, match="image_size: the head has 16x16, the store has 24x24"):
        evaluate_head(head, open_store(tmp_path / "other"))
    table = predict_store(head, color_store)
    assert table["path"].to_pylist() == color_store.table()["path"].to_pylist()


def custom_network(shape, outputs, seed, units=4):
    import keras

    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(units, "relu"),
            keras.layers.Dense(outputs, "softmax"),
        ]
    )


def custom_thing(shape, outputs, seed):
    return "neither a network nor an estimator"


def custom_estimator(shape, outputs, seed, strength=1.0):
    return LogisticRegression(C=strength, random_state=seed, max_iter=500)


def test_a_custom_head_that_cannot_be_fitted_is_refused(color_store):
    with pytest.raises(UsageError, match=r"custom_thing made a str: expected a Keras model, or a scikit-learn"):
        fit_head(color_store, f"{__name__}:custom_thing")


def test_commands_that_load_a_custom_head_name_its_function(color_store, tmp_path):
    name = f"{__name__}:custom_estimator"
    head = fit_head(color_store, name, reduce="flatten")
    (use, *_) = command_blocks(head.info, tmp_path, None, None)
    printed = [*next_steps(head, tmp_path, ["store"]), *use.text.splitlines()]
    loading = [line for line in printed if line.split()[1] in ("predict", "evaluate")]
    assert len(loading) == 4
    assert all(line.endswith(f" --head {name}") for line in loading)


@pytest.mark.parametrize("function", ["custom_network", "custom_estimator"])
def test_a_custom_head(color_store, tmp_path, function):
    name = f"{__name__}:{function}"
    parameters = {"units": 8, "epochs": 3} if function == "custom_network" else {"strength": 0.5}
    options = {} if function == "custom_network" else {"reduce": "flatten"}
    head = fit_head(color_store, name, parameters=parameters, **options)
    folder = head.save(tmp_path / "head")
    with pytest.raises(UsageError, match="built by your own function"):
        load_head(folder)
    loaded = load_head(folder, name)
    X, _ = color_store.arrays()
    np.testing.assert_allclose(loaded.predict_features(X), head.predict_features(X), atol=1e-6)
