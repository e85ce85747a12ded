"""`fit curve`: which images its heads learn from, what it prints and writes, and what is refused."""

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import fit.curve.run
from extract import extract as run_extract
from fit import CurveOptions, fit_curve, fit_head
from fit.commands import app
from fit.curve.run import Curve, CurvePoint, CurveStep
from fit.curve.text import describe_curve, format_curve
from fit.curve.write import curve_csv, write_curve
from fit.experiment import load_experiment
from fit.metrics.intervals import Interval
from fit.options import FitOptions
from fit.request import resolve_fit
from store import open_store
from store.command_line import run_app
from store.errors import UsageError
from store.tables import columns
from tests.fit.conftest import make_colors

KNN = FitOptions("knn")


@pytest.fixture
def grouped_store(stub, tmp_path):
    """120 images of three classes in groups of one to five; some groups are of two classes."""
    folder = make_colors(tmp_path / "data", each=40)
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    rng = np.random.default_rng(1)
    groups = [f"{path.split('/')[0] if rng.random() < 0.9 else 'mixed'}-{rng.integers(0, 14)}" for path in paths]
    labels = [path.split("/")[0] for path in paths]
    pq.write_table(pa.table({"path": paths, "label": labels, "group": groups}), folder / "images.parquet")
    run_extract(
        folder / "images.parquet",
        out=tmp_path / "grouped",
        backbone="mobilenet",
        weights="random",
        image_size=(16, 16),
    )
    return open_store(tmp_path / "grouped")


@pytest.fixture
def learned(monkeypatch):
    """The images of every fit of a curve: those that it learned from, and those that stopped it."""
    done = []
    real = fit.curve.run.fit_roles

    def noted(request, classifier, experiment, roles):
        done.append((set(roles.learn.tolist()), set(roles.stop.tolist())))
        return real(request, classifier, experiment, roles)

    monkeypatch.setattr(fit.curve.run, "fit_roles", noted)
    return done


def test_each_set_is_of_whole_groups_within_the_next_and_of_train_alone(grouped_store, learned):
    options = FitOptions("knn", group_by="group", near_twins="ignore")
    asked = CurveOptions(sizes=3, draws=3)
    found = fit_curve(grouped_store, options, asked)
    experiment = load_experiment(resolve_fit(grouped_store, options))
    split, groups = experiment.split, experiment.images.split_groups.of_rows
    assert len(split.validation) > 10
    assert len(split.test) > 10
    sets = [learn | stop for learn, stop in learned]
    assert [len(images) for images in sets] == [fit.images for fit in found.fits]
    assert sets[-1] == set(split.train.tolist())
    for images in sets:
        assert images <= set(split.train.tolist())
        assert not set(groups[list(images)]) & set(groups[np.setdiff1d(split.train, list(images))])
        assert set(experiment.images.targets[list(images)]) == {0, 1, 2}
    quarters, halves = sets[:3], sets[3:6]
    assert all(quarter < half < sets[-1] for quarter, half in zip(quarters, halves, strict=True))
    assert len({tuple(sorted(images)) for images in halves}) == 3
    for images in sets:  # of a head that stops early
        roles = experiment.roles_within(np.array(sorted(images)), stops_early=True)
        assert {*roles.learn, *roles.stop} == images
        assert not set(groups[roles.learn]) & set(groups[roles.stop])
    assert all(0.35 < len(half) / len(split.train) < 0.65 for half in halves)


def test_all_training_images_give_what_fit_head_gives_on_validation(color_store):
    found = fit_curve(color_store, FitOptions("logistic", val=0.4), CurveOptions(sizes=2, draws=2))
    plain = fit_head(color_store, "logistic", val=0.4).metrics["validation"]
    last = found.points[-1]
    assert last.scores["accuracy"].to_dict() == plain["accuracy"]
    assert last.scores["log_loss"].to_dict() == plain["log_loss"]
    assert last.draws == 1
    smaller = [fit for fit in found.fits if fit.images < last.images]
    assert [fit.draw for fit in smaller] == [0, 1]
    assert found.points[0].scores["accuracy"].value == pytest.approx(
        np.mean([fit.scores["accuracy"] for fit in smaller])
    )
    assert found.points[0].scores["log_loss"].value == pytest.approx(
        np.mean([fit.scores["log_loss"] for fit in smaller])
    )
    (step,) = found.steps
    assert step.changes["accuracy"].value == pytest.approx(
        last.scores["accuracy"].value - found.points[0].scores["accuracy"].value
    )
    assert step.changes["log_loss"].value == pytest.approx(
        last.scores["log_loss"].value - found.points[0].scores["log_loss"].value
    )
    assert (step.before, step.after) == (found.points[0].images, last.images)


def test_the_same_seed_gives_the_same_curve(color_store):
    asked = CurveOptions(sizes=2, draws=2)
    assert fit_curve(color_store, KNN, asked) == fit_curve(color_store, KNN, asked)


def test_sizes_at_which_every_class_has_its_least_number_of_images_count_once(color_store):
    found = fit_curve(color_store, KNN, CurveOptions(sizes=9, draws=2))
    sizes = [point.images for point in found.points]
    assert sizes == [6, 9, 18, 36]  # 2 images of each of three classes, then doublings of what 36 are
    assert len(found.fits) == 2 * 3 + 1


def test_several_labels(color_store, tmp_path):
    paths = color_store.table()["path"].to_pylist()
    labels = [f"{path.split('/')[0]}{'|odd' if int(path[-5]) % 2 else ''}" for path in paths]
    pq.write_table(pa.table({"path": paths, "label": labels}), tmp_path / "labels.parquet")
    found = fit_curve(color_store, FitOptions("knn", labels=tmp_path / "labels.parquet"), CurveOptions(2, 2))
    assert 0 < found.points[-1].scores["accuracy"].value <= 1


@pytest.mark.parametrize(
    ("fit_options", "options", "words"),
    [
        (FitOptions("knn", val=0), {}, "no validation images"),
        (KNN, {"sizes": 1}, "--sizes is 1"),
        (KNN, {"draws": 1}, "--draws is 1"),
        (FitOptions("knn", val=0.45, test=0.45), {"sizes": 2}, "too few training images"),
    ],
)
def test_what_cannot_be_is_refused(color_store, fit_options, options, words):
    with pytest.raises(UsageError, match=words):
        fit_curve(color_store, fit_options, CurveOptions(**options))


def test_heads_that_predict_numbers_have_a_curve_of_their_error(color_store, numbers):
    options = FitOptions("ridge", labels=numbers, task="regression", val=0.4, group_by="group", near_twins="ignore")
    found = fit_curve(color_store, options, CurveOptions(sizes=2, draws=3))
    head = fit_head(
        color_store, "ridge", labels=numbers, task="regression", val=0.4, group_by="group", near_twins="ignore"
    )
    assert found.metrics == ["mean_absolute_error"]
    error = head.metrics["validation"]["mean_absolute_error"]
    assert found.points[-1].scores["mean_absolute_error"].to_dict() == error
    smaller = [fit.scores["mean_absolute_error"] for fit in found.fits[:-1]]
    assert len(set(smaller)) == 3
    assert found.points[0].scores["mean_absolute_error"].value == pytest.approx(np.mean(smaller))
    (step,) = found.steps
    assert step.changes["mean_absolute_error"].value == pytest.approx(error["value"] - np.mean(smaller))
    assert step.to_dict()["mean_absolute_error"]["value"] == step.changes["mean_absolute_error"].value


def test_the_command_for_numbers_writes_their_error(color_store, numbers, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    numeric = ["--task", "regression", "--labels", str(numbers), "--sizes", "2", "--draws", "2"]
    monkeypatch.setattr(sys, "argv", ["fit", "curve", "--features", "store", "--head", "knn", *numeric])
    assert run_app(app, "fit") == 0
    printed = capsys.readouterr().out
    assert re.split(r"  +", printed.splitlines()[0]) == ["images", "mean absolute error", "mean absolute error changed"]
    assert "mean absolute error -" in printed
    assert "accuracy" not in printed
    with Path("curves/knn/curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["changed"]) == pytest.approx(
        float(rows[1]["mean_absolute_error"]) - float(rows[0]["mean_absolute_error"])
    )
    with Image.open("curves/knn/curve.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 5


def test_the_command_writes_a_table_and_a_picture(color_store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["fit", "curve", "--features", "store", "--head", "knn", "--sizes", "2", "--draws", "2"]
    monkeypatch.setattr(sys, "argv", command)
    assert run_app(app, "fit") == 0
    printed = capsys.readouterr()
    assert "from 18 to 36 images: accuracy" in printed.out
    assert printed.out.splitlines()[0].split() == ["images", "accuracy", "log", "loss", "accuracy", "gained"]
    with Path("curves/knn/curve.csv").open() as file:
        assert [row["images"] for row in csv.DictReader(file)] == ["18", "36"]
    with Image.open("curves/knn/curve.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 5
    assert run_app(app, "fit") == 2
    assert "curves/knn holds a curve already" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*command, "--force", "--json"])
    assert run_app(app, "fit") == 0
    found = json.loads(capsys.readouterr().out)
    assert [point["images"] for point in found["points"]] == [18, 36]
    assert len(found["fits"]) == 3


# What is printed, of numbers that are given


def made(gained):
    """A curve of three sizes whose last step is given."""
    score, nothing = Interval(0.8, 0.75, 0.85), Interval(0.5, None, None, "114 images: too few for an interval")
    scores = {"accuracy": score, "log_loss": nothing}
    points = [CurvePoint(images, draws, scores) for images, draws in ((1_200, 5), (2_400, 5), (4_800, 1))]
    steps = [CurveStep(1_200, 2_400, scores), CurveStep(2_400, 4_800, {"accuracy": gained, "log_loss": nothing})]
    return Curve("logistic", 114, points, steps, [])


@pytest.mark.parametrize(
    ("gained", "words"),
    [
        (Interval(0.012, 0.004, 0.028), "accuracy +1.2 points (+0.4..+2.8), log loss +0.500: twice the images helped"),
        (Interval(0.012, -0.004, 0.028), "(-0.4..+2.8), log loss +0.500: these validation images do not show whether"),
        (Interval(-0.03, -0.05, -0.01), "accuracy -3.0 points (-5.0..-1.0), log loss +0.500: the accuracy fell"),
        (
            Interval(0.012, None, None, "12 images: too few"),
            "accuracy +1.2 points, log loss +0.500: there is no interval",
        ),
    ],
)
def test_the_last_step_is_said_with_how_certain_it_is(gained, words):
    first, *others = describe_curve(made(gained))
    assert first.startswith("from 2,400 to 4,800 images: ")
    assert words in first
    assert others[0] == "log loss: 114 images: too few for an interval"
    assert len(others) == (2 if gained.reason else 1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (Interval(-1.2, -2.1, -0.3), "mean absolute error -1.200 (-2.100..-0.300): twice the images helped"),
        (Interval(-0.2, -0.7, 0.3), "images help; at best, twice the images gave an error smaller by 0.7000"),
        (Interval(0.4, 0.1, 0.7), "mean absolute error +0.4000 (+0.1000..+0.7000): the error rose"),
        (Interval(-0.2, None, None, "12 images: too few"), "mean absolute error -0.2000: there is no interval"),
    ],
)
def test_a_smaller_error_is_better(changed, words):
    error = {"mean_absolute_error": Interval(18.3, 17.1, 19.7)}
    step = CurveStep(100, 200, {"mean_absolute_error": changed})
    assert (
        words
        in describe_curve(Curve("ridge", 40, [CurvePoint(100, 5, error), CurvePoint(200, 1, error)], [step], []))[0]
    )


def test_the_table_fits_a_terminal_and_the_file_has_all_its_numbers(tmp_path):
    curve = made(Interval(0.012, -0.004, 0.028))
    lines = columns(format_curve(curve), 80)
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    assert "+0.012 (-0.004..+0.028)" in lines[-1]
    rows = list(csv.DictReader(curve_csv(curve).decode().splitlines()))
    assert [row["gained"] for row in rows] == ["", "0.8", "0.012"]
    assert rows[0]["log_loss_low"] == ""
    write_curve(curve, tmp_path)
    assert (tmp_path / "curve.csv").read_bytes() == curve_csv(curve)
