import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image

import fit.fitting
import fit.search.running
import fit.train
from fit import fit_head, load_head
from fit.options import FitOptions
from fit.search.options import SweepOptions
from fit.search.sweep import sweep_head
from fit.text import format_refusals, format_sweep
from store.errors import StoppedEarly, UsageError

KNN = FitOptions("knn")


@pytest.fixture
def fits(monkeypatch):
    """The parameters of every fit."""
    done = []
    real = fit.fitting.fit_roles

    def counted(request, *arguments):
        done.append(dict(request.parameters))
        return real(request, *arguments)

    for module in (fit.fitting, fit.train):
        monkeypatch.setattr(module, "fit_roles", counted)
    return done


def sweep(store, out, *tries, options=KNN, **settings):
    return sweep_head(store, options, SweepOptions(tries, **settings), out)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_grid_is_tried_and_the_best_on_validation_is_a_head(color_store, tmp_path, fits):
    found = sweep(color_store, tmp_path / "sweep", "neighbors=3,36,0")
    assert [trial.parameters["neighbors"] for trial in found.trials] == [3, 36, 0]
    assert found.trials[2].refused.startswith("neighbors is 0: expected 1 or more")
    best = load_head(tmp_path / "sweep" / "best")
    assert best.info.parameters == {"neighbors": 3, "temperature": 0.07}
    assert best.metrics["chosen_from"] == {"trials": 3, "refused": 1, "metric": "accuracy"}
    assert best.metrics == found.metrics
    plain = fit_head(color_store, "knn", parameters={"neighbors": 3, "temperature": 0.07}).metrics
    assert {**best.metrics, "seconds": 0, "chosen_from": 0} == {**plain, "seconds": 0, "chosen_from": 0}
    assert found.chosen.scores["accuracy"].to_dict() == plain["validation"]["accuracy"]
    table = format_sweep(found)
    assert [row[::2] for row in table] == [["trial", "neighbors"], ["1 *", "3"], ["2", "36"], ["3", "0"]]
    assert table[3][1] == "refused"
    assert format_refusals(found)[0][1].startswith("refused: neighbors is 0")
    with (tmp_path / "sweep" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["neighbors"], row["chosen"]) for row in rows] == [("3", "yes"), ("36", ""), ("0", "")]
    assert float(rows[0]["accuracy"]) == found.chosen.scores["accuracy"].value
    with Image.open(tmp_path / "sweep" / "sweep.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 5


def test_the_same_again_fits_nothing_and_more_values_fit_those_alone(color_store, tmp_path, fits):
    first = sweep(color_store, tmp_path / "sweep", "neighbors=3,36")
    before, count = files(tmp_path / "sweep"), len(fits)
    again = sweep(color_store, tmp_path / "sweep", "neighbors=3,36")
    assert len(fits) == count
    assert files(tmp_path / "sweep") == before
    assert again.trials == first.trials
    more = sweep(color_store, tmp_path / "sweep", "neighbors=36,20")
    assert [fitted["neighbors"] for fitted in fits[count:]] == [20, 3, 3]  # one trial; the chosen head and its refit
    assert more.metrics["chosen_from"]["trials"] == 3


def test_a_chosen_head_that_is_damaged_is_fitted_again(color_store, tmp_path, fits):
    found = sweep(color_store, tmp_path / "sweep", "neighbors=3,36")
    before = len(fits)
    (found.best / "metrics.json").write_text("{")
    again = sweep(color_store, tmp_path / "sweep", "neighbors=3,36")
    assert len(fits) == before + 2  # the first and the kept fit of the chosen head
    assert {**load_head(found.best).metrics, "seconds": 0} == {**again.metrics, "seconds": 0}


def test_a_stopped_sweep_goes_on(color_store, tmp_path, monkeypatch, fits):
    counted = fit.fitting.fit_roles

    def interrupted(*arguments):
        if len(fits) == 2:
            raise KeyboardInterrupt
        return counted(*arguments)

    monkeypatch.setattr(fit.fitting, "fit_roles", interrupted)
    with pytest.raises(StoppedEarly, match=r"done so far, 2, are kept in .*: run the same command again to continue"):
        sweep(color_store, tmp_path / "sweep", "neighbors=3,36,20,10")
    assert not (tmp_path / "sweep" / "best").exists()
    monkeypatch.setattr(fit.fitting, "fit_roles", counted)
    found = sweep(color_store, tmp_path / "sweep", "neighbors=3,36,20,10")
    assert [fitted["neighbors"] for fitted in fits[:4]] == [3, 36, 20, 10]
    whole = sweep(color_store, tmp_path / "whole", "neighbors=3,36,20,10")
    assert [(trial.number, trial.scores) for trial in found.trials] == [
        (trial.number, trial.scores) for trial in whole.trials
    ]


def test_the_test_is_looked_at_once(color_store, tmp_path, monkeypatch):
    looked = []
    real = fit.fitting.predict_images

    def recorded(head, experiment, images, *reporter):
        looked.append(bool(np.isin(images, experiment.split.test).any()))
        return real(head, experiment, images, *reporter)

    for module in (fit.fitting, fit.search.running):
        monkeypatch.setattr(module, "predict_images", recorded)
    sweep(color_store, tmp_path / "sweep", "neighbors=3,36,20")
    assert looked == [False] * 5  # three trials; the chosen head's train and validation
    looked.clear()
    found = sweep(color_store, tmp_path / "sweep", "neighbors=3,36,20", options=FitOptions("knn", evaluate_test=True))
    assert looked == [False, False, True]  # no trial; the chosen head again, and its test
    assert found.metrics["test"]["rows"] == 12
    sweep(color_store, tmp_path / "sweep", "neighbors=3,36,20", options=FitOptions("knn", evaluate_test=True))
    assert len(looked) == 3


def test_trials_of_a_custom_head_are_run_again_once_its_code_is_another(color_store, tmp_path, write_module):
    code = (
        "from sklearn.linear_model import LogisticRegression\n\n"
        "def head(shape, outputs, seed, strength=1.0):\n"
        "    return LogisticRegression(C=strength {}, random_state=seed)\n"
    )

    def swept(change):
        write_module("swept", code.format(change))
        return sweep(
            color_store, tmp_path / "sweep", "strength=1.0,2.0", options=FitOptions("swept:head", reduce="avg")
        )

    first, changed, again = swept(""), swept("/ 1e9"), swept("")
    assert changed.chosen.scores["log_loss"] != first.chosen.scores["log_loss"]
    assert again.trials == first.trials  # both are there
    assert len(changed.trials) == 2
    assert changed.metrics["validation"] != first.metrics["validation"]


def test_of_equal_trials_the_first_is_chosen_and_a_loss_is_better_low(color_store, tmp_path):
    found = sweep(color_store, tmp_path / "first", "neighbors=5,3,7", metric="accuracy")
    scores = [trial.scores["accuracy"].value for trial in found.trials]
    assert scores == sorted(scores, reverse=True)
    if len(set(scores)) == 1:
        assert [trial.number for trial in found.trials] == [0, 1, 2]
    found = sweep(color_store, tmp_path / "loss", "neighbors=36,3", metric="log_loss")
    losses = [trial.scores["log_loss"].value for trial in found.trials]
    assert losses == sorted(losses)
    assert found.chosen.parameters["neighbors"] in (3, 36)


@pytest.mark.parametrize(
    ("metric", "lower_is_better"),
    [(None, True), ("root_mean_squared_error", True), ("r2", False), ("spearman", False)],
)
def test_of_heads_that_predict_numbers_the_smallest_error_is_chosen(
    color_store, numbers, tmp_path, metric, lower_is_better
):
    options = FitOptions("knn", task="regression", labels=numbers)
    found = sweep(
        color_store, tmp_path / "sweep", "neighbors=3,36,0", "temperature=0.01,10", options=options, metric=metric
    )
    assert found.metric == (metric or "mean_absolute_error")
    scored = [trial.scores[found.metric].value for trial in found.trials if trial.scores]
    assert len(set(scored)) > 2
    assert scored == sorted(scored, reverse=not lower_is_better)
    assert [trial.refused.partition(":")[0] for trial in found.trials[-2:]] == ["neighbors is 0", "neighbors is 0"]
    best = load_head(tmp_path / "sweep" / "best")
    assert best.info.task.regression
    plain = fit_head(color_store, "knn", task="regression", labels=numbers, parameters=found.chosen.parameters).metrics
    assert best.metrics["validation"] == plain["validation"]
    assert {name: one.to_dict() for name, one in found.chosen.scores.items()}.items() <= plain["validation"].items()
    with (tmp_path / "sweep" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["mean_absolute_error"]) == found.chosen.scores["mean_absolute_error"].value
    assert "accuracy" not in rows[0]
    with Image.open(tmp_path / "sweep" / "sweep.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 5
    before = files(tmp_path / "sweep")
    again = sweep(
        color_store, tmp_path / "sweep", "neighbors=3,36", "temperature=0.01,10", options=options, metric=metric
    )
    assert again.trials == found.trials
    assert files(tmp_path / "sweep") == before


def test_one_change_at_a_time(color_store, tmp_path):
    options = FitOptions("forest", parameters={"trees": 5})
    found = sweep(
        color_store,
        tmp_path / "sweep",
        "trees=5,10",
        "min_leaf=1,2,9",
        options=options,
        method="one",
        metric="macro_f1",
    )
    tried = sorted(found.trials, key=lambda trial: trial.number)
    assert [(trial.parameters["trees"], trial.parameters["min_leaf"]) for trial in tried] == [
        (5, 1),
        (10, 1),
        (5, 2),
        (5, 9),
    ]
    assert found.names == ("trees", "min_leaf")


def test_random_draws(color_store, tmp_path, fits):
    sweep(color_store, tmp_path / "sweep", "neighbors=1..30", method="random", trials=3)
    first = [fitted["neighbors"] for fitted in fits[:3]]
    fits.clear()
    found = sweep(color_store, tmp_path / "sweep", "neighbors=1..30", method="random", trials=5)
    assert len({*first, *(fitted["neighbors"] for fitted in fits[:2])}) == 5 == len(found.trials)


def test_optuna_goes_on_as_if_it_had_not_been_stopped(color_store, tmp_path, fits):
    pytest.importorskip("optuna")
    tries = ("alpha=1e-4..1", "learning_rate=1e-4..1e-1", "batch_size=16,32")
    settings = {"options": FitOptions("sgd", parameters={"epochs": 2}), "method": "optuna", "metric": "log_loss"}
    whole = sweep(color_store, tmp_path / "whole", *tries, trials=14, **settings)
    sweep(color_store, tmp_path / "parts", *tries, trials=5, **settings)
    parts = sweep(color_store, tmp_path / "parts", *tries, trials=14, **settings)
    assert [trial.parameters for trial in parts.trials] == [trial.parameters for trial in whole.trials]
    assert len(parts.trials) == 14


def test_optuna_ends_where_all_is_tried(color_store, tmp_path):
    pytest.importorskip("optuna")
    found = sweep(color_store, tmp_path / "sweep", "neighbors=3,5,0", method="optuna", trials=9)
    assert sorted(trial.parameters["neighbors"] for trial in found.trials) == [0, 3, 5]


def test_optuna_that_is_not_installed(color_store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'stillframe\[search\]'"):
        sweep(color_store, tmp_path / "sweep", "neighbors=3,5", method="optuna")


def test_another_sweeps_folder_is_refused(color_store, tmp_path):
    sweep(color_store, tmp_path / "sweep", "neighbors=3")
    for options, settings, words in [
        (FitOptions("knn", seed=1), {}, "seed was 0, is 1"),
        (FitOptions("knn", test=0.3), {}, "split was "),
        (KNN, {"metric": "log_loss"}, "metric was accuracy, is log_loss"),
        (FitOptions("knn", reduce="max"), {}, "reduction was avg, is max"),
    ]:
        with pytest.raises(UsageError, match=f"holds trials of another sweep; .*{words}"):
            sweep(color_store, tmp_path / "sweep", "neighbors=3", options=options, **settings)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("")
    with pytest.raises(UsageError, match="is not the folder of a sweep"):
        sweep(color_store, tmp_path / "other", "neighbors=3")


def test_a_damaged_trial_is_named(color_store, tmp_path):
    sweep(color_store, tmp_path / "sweep", "neighbors=3")
    (trial,) = (tmp_path / "sweep" / "trials").iterdir()
    content = json.loads(trial.read_text())
    del content["scores"]
    for text in ("{", json.dumps(content)):
        trial.write_text(text)
        with pytest.raises(UsageError, match=f"{trial.name}.*delete it"):
            sweep(color_store, tmp_path / "sweep", "neighbors=3")


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        (KNN, {"method": "all"}, "--method is 'all'"),
        (KNN, {"metric": "roc_auc"}, "--metric is 'roc_auc'"),
        (KNN, {"metric": "r2"}, "--metric is 'r2': for --task classification expected one of accuracy, "),
        (
            FitOptions("knn", task="regression"),
            {"metric": "accuracy"},
            "--metric is 'accuracy': for --task regression expected one of mean_absolute_error, ",
        ),
        (FitOptions("forest", task="regression"), {}, "the head forest predicts classes alone"),
        (KNN, {"trials": 3}, "--trials is not for --method grid"),
        (KNN, {"trials": 0, "method": "random"}, "--trials is 0"),
        (FitOptions("knn", val=0.0), {}, "no validation images to choose by"),
        (FitOptions("knn", parameters={"epochs": 3}), {}, "--epochs is not for the head knn"),
    ],
)
def test_wrong_requests_are_refused(color_store, tmp_path, options, settings, words):
    with pytest.raises(UsageError, match=words):
        sweep(color_store, tmp_path / "sweep", "neighbors=3,4", options=options, **settings)
    assert not (tmp_path / "sweep").exists()


def test_where_every_trial_is_refused_it_is_said(color_store, tmp_path):
    with pytest.raises(UsageError, match="refused every trial, the first with: neighbors is 0"):
        sweep(color_store, tmp_path / "sweep", "neighbors=0,-1")
