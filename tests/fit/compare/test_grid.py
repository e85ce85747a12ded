import json
import shutil
import sys

import pytest

from extract import extract as run_extract
from fit.commands import app
from fit.compare.grid import FITTED_AS, fit_grid
from fit.compare.options import ComparisonOptions
from fit.head_folder import read_results
from fit.options import FitOptions
from store.command_line import run_app
from store.errors import UsageError


@pytest.fixture
def stores(stub, colors, layered, tmp_path):
    """Two stores of the same images, in folders of one name, and one of two layers."""
    places = [tmp_path / "a" / "store", tmp_path / "b" / "store"]
    for place, size in zip(places, (16, 8), strict=True):
        run_extract(colors, out=place, backbone="mobilenet", weights="random", image_size=(size, size))
    return [*map(str, places), str(layered)]


def asked(stores, heads="centroid,knn"):
    return ComparisonOptions(heads=heads, stores=tuple(stores))


def test_each_head_is_fitted_on_each_output_of_each_store(stores, tmp_path):
    grid = fit_grid(asked(stores), FitOptions(test=0.0), tmp_path / "heads")
    assert len(grid.heads) == 8
    assert len({head.folder for head in grid.heads}) == 8
    assert sorted({head.info.blocks[0].output.name for head in grid.heads}) == ["early", "features", "late"]
    assert {head.info.head for head in grid.heads} == {"centroid", "knn"}
    assert {head.metrics["rows"]["test"] for head in grid.heads} == {0}


def test_fits_that_are_there_are_kept_unless_something_else_is_asked_for(stores, tmp_path, monkeypatch):
    folder = tmp_path / "heads"
    first = fit_grid(asked(stores[:1]), FitOptions(), folder)
    stamps = [(head.folder / "head.json").stat().st_mtime_ns for head in first.heads]
    again = fit_grid(asked(stores[:1], "knn,centroid,ridge"), FitOptions(), folder)
    assert [(head.folder / "head.json").stat().st_mtime_ns for head in again.heads[1::-1]] == stamps
    other = fit_grid(asked(stores[:1]), FitOptions(seed=5), folder)
    assert [head.info.seed for head in other.heads] == [5, 5]
    assert other.heads[0].metrics[FITTED_AS] != first.heads[0].metrics[FITTED_AS]
    labels = tmp_path / "labels.csv"
    for name in ("blue", "red"):
        labels.write_text("path,label\n" + "".join(f"{kind}/{at:03d}.png,{kind if kind != name else 'other'}\n"
                          for kind in ("blue", "green", "red") for at in range(20)))  # fmt: skip
        found = fit_grid(asked(stores[:1]), FitOptions(labels=labels), folder)
        assert "other" in found.heads[0].info.classes
        assert name not in found.heads[0].info.classes
    (found.heads[0].folder / "metrics.json").write_text("{")
    assert fit_grid(asked(stores[:1]), FitOptions(labels=labels), folder).heads[0].metrics


def test_costs_that_changed_are_another_fit(stores, tmp_path):
    costs = tmp_path / "costs.csv"
    for price in (1.0, 7.0):
        costs.write_text(f"actual,blue,green,red\nblue,0,1,1\ngreen,1,0,{price}\nred,1,1,0\n")
        grid = fit_grid(asked(stores[:1], "knn,centroid"), FitOptions(threshold=f"cost={costs}"), tmp_path / "heads")
        assert grid.heads[0].info.decision.costs[1][2] == price


def test_a_custom_head_is_fitted_again_once_its_code_is_another(stores, tmp_path, write_module):
    code = (
        "from sklearn.linear_model import LogisticRegression\n\n"
        "def head(shape, outputs, seed):\n"
        "    return LogisticRegression(C={}, random_state=seed)\n"
    )

    def fitted(strength):
        write_module("compared", code.format(strength))
        options = FitOptions(reduce="avg")
        return fit_grid(asked(stores[:1], "centroid,compared:head"), options, tmp_path / "heads").heads

    first, same, changed = fitted(1.0), fitted(1.0), fitted(1e-9)
    assert same[1].metrics == first[1].metrics
    assert changed[0].metrics == first[0].metrics
    assert changed[1].metrics["validation"]["log_loss"] != first[1].metrics["validation"]["log_loss"]


def test_stores_of_one_name_and_one_recipe_have_folders_of_their_own(stores, tmp_path):
    shutil.copytree(stores[0], tmp_path / "c" / "store")
    pair = [stores[0], str(tmp_path / "c" / "store")]
    grid = fit_grid(asked(pair, "knn"), FitOptions(), tmp_path / "heads")
    assert len({head.folder for head in grid.heads}) == 2
    with pytest.raises(UsageError, match=r"names the store .* twice"):
        fit_grid(asked([stores[0], f"{stores[0]}/"], "knn"), FitOptions(), tmp_path / "heads")


def test_a_store_that_is_the_working_directory_has_a_name(stores, tmp_path, monkeypatch):
    monkeypatch.chdir(stores[0])
    grid = fit_grid(asked(["."], "knn,centroid"), FitOptions(), tmp_path / "heads")
    assert grid.heads[0].folder.name == "store-knn"


def test_what_a_store_does_not_suit_is_left_out_and_said(stores, tmp_path):
    options = FitOptions(output="late")
    grid = fit_grid(asked(stores[2:], "centroid,knn,cnn"), options, tmp_path / "heads")
    assert [head.info.head for head in grid.heads] == ["centroid", "knn"]
    ((name, reason),) = grid.refused
    assert name.endswith("-late-cnn")
    assert "takes spatial tensors and these features are vectors" in reason
    with pytest.raises(UsageError, match=r"none of the heads can be fitted: .*-late-cnn: "):
        fit_grid(asked(stores[2:], "cnn,conv"), options, tmp_path / "heads")
    with pytest.raises(UsageError, match=r"only one of the heads can be fitted: .*-late-cnn: "):
        fit_grid(asked(stores[2:], "knn,cnn"), options, tmp_path / "heads")


@pytest.mark.parametrize(
    ("heads", "options", "says"),
    [
        ("knn,nosuch", {}, "unknown head 'nosuch'"),
        ("knn", {}, "two heads or more: name several with --heads"),
        ("knn,ridge", {"val": 0.6, "test": 0.5}, "^--val 0.6 and --test 0.5 leave nothing to train on"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_first_fit(stores, tmp_path, heads, options, says):
    with pytest.raises(UsageError, match=says):
        fit_grid(asked(stores[:1], heads), FitOptions(**options), tmp_path / "heads")
    assert not (tmp_path / "heads").exists()


def test_heads_that_predict_numbers_are_fitted_and_compared(color_store, numbers, tmp_path, monkeypatch, capsys):
    words = ["compare", "--heads", "ridge,forest,knn", "--features", color_store.folder.absolute]
    words += ["--task", "regression", "--labels", numbers, "--out", tmp_path / "page"]
    assert run(monkeypatch, *words, "--evaluate-test", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert [head["head"] for head in values["heads"]] == ["ridge", "knn"]
    assert values["refused"][0]["name"] == "store-forest"
    assert "predicts classes alone" in values["refused"][0]["reason"]
    fitted = {head.info.head: head for head in map(read_results, (tmp_path / "page" / "heads").iterdir())}
    for head in values["heads"]:
        assert head["validation"] == fitted[head["head"]].metrics["validation"]
        assert head["test"]["mean_absolute_error"]["value"] > 0
    assert json.loads((tmp_path / "page" / "compare.json").read_text())["best"] == values["best"]
    assert (tmp_path / "page" / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert run(monkeypatch, *words, "--evaluate-test") == 0
    output = capsys.readouterr()
    assert "head 1 of" not in output.err
    assert output.out.startswith("mean absolute error ")
    assert "store-forest" in output.out
    places = [head.folder for head in fitted.values()]
    assert run(monkeypatch, "compare", *places, "--out", tmp_path / "other") == 0
    assert json.loads((tmp_path / "other" / "compare.json").read_text())["heads"][0]["shared"] > 0
    assert run(monkeypatch, "compare", *places, "--task", "regression") == 2
    assert "options of a fit are for --heads" in capsys.readouterr().err


def test_options_about_classes_are_refused_for_numbers(color_store, numbers, tmp_path):
    options = FitOptions(task="regression", labels=numbers, threshold="f1")
    with pytest.raises(UsageError, match="--threshold is about classes, and --task regression predicts a number"):
        fit_grid(asked([color_store.folder.absolute], "ridge,knn"), options, tmp_path / "heads")


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["fit", *map(str, words)])
    return run_app(app, "fit")


def test_the_command_writes_a_page_and_keeps_what_it_fitted(stores, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["compare", "--heads", "centroid,knn", *(word for place in stores for word in ("--features", place))]
    assert run(monkeypatch, *words, "--cv", "2", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["page"] == "comparison/compare.html"
    assert len(values["heads"]) == 8
    known = [head["costs"]["seconds_per_image"] for head in values["heads"]]
    assert known[4:] == [None] * 4
    assert min(known[:4]) > 0
    assert values["cost"] == "bytes_per_image"
    assert values["front"]
    page = (tmp_path / "comparison" / "compare.html").read_text()
    assert "Pareto front" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    stored = json.loads((tmp_path / "comparison" / "compare.json").read_text())
    assert stored["best"] == values["best"]
    assert run(monkeypatch, *words, "--cv", "2") == 0
    output = capsys.readouterr()
    assert "head 1 of" not in output.err
    assert "Pareto front" in output.out
    assert max(map(len, output.out.splitlines())) <= 120


def test_a_comparison_that_was_stopped_goes_on_with_the_fits_that_there_are(stores, tmp_path, monkeypatch, capsys):
    words = ["compare", "--heads", "centroid,knn", "--features", stores[0], "--out", tmp_path / "page"]
    done = fit_grid(asked(stores[:1]), FitOptions(), tmp_path / "page" / "heads")
    shutil.rmtree(done.heads[1].folder)
    assert run(monkeypatch, *words) == 0
    says = capsys.readouterr().err
    assert "head 2 of 2" in says
    assert "head 1 of 2" not in says
    (tmp_path / "file").write_text("")
    for place in ("file", "a"):
        assert run(monkeypatch, *words[:-1], tmp_path / place) == 2
        assert "is not a comparison" in capsys.readouterr().err


def test_folders_have_a_page_too_where_one_is_asked_for(stores, tmp_path, monkeypatch, capsys):
    fit_grid(asked(stores[:1]), FitOptions(), tmp_path / "heads")
    folders = [tmp_path / "heads" / f"store-{name}" for name in ("centroid", "knn")]
    assert run(monkeypatch, "compare", *folders, "--out", tmp_path / "page") == 0
    assert (tmp_path / "page" / "compare.html").is_file()
    assert run(monkeypatch, "compare", *folders, "--out", tmp_path / "chart.png") == 0
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert run(monkeypatch, "compare", *folders, "--out", tmp_path / "heads") == 2
    assert "is not a comparison" in capsys.readouterr().err
    assert read_results(folders[0])


def test_a_comparison_of_numbers_in_the_place_of_one_of_classes_leaves_no_file_of_it(
    color_store, numbers, tmp_path, monkeypatch
):
    words = ["compare", "--heads", "ridge,knn", "--features", color_store.folder.absolute, "--out", tmp_path / "page"]
    of_numbers = [*words, "--task", "regression", "--labels", numbers]
    for asked_for, file in ((words, "compare.html"), (of_numbers, "compare.png"), (words, "compare.html")):
        assert run(monkeypatch, *asked_for) == 0
        assert {place.name for place in (tmp_path / "page").iterdir()} == {"compare.json", "heads", file}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a", "b", "--heads", "knn"], "--heads and --features go together"),
        (["a", "b", "--heads", "knn", "--features", "store"], "name either"),
        ([], "name either"),
        (["--heads", "knn,knn", "--features", "store"], "--heads has knn twice"),
        (["--heads", "knn", "--features", "s", "--features", "s"], "--features has s twice"),
        (["--heads", "knn", "--features", "s", "--out", "x.png"], "expected a folder"),
        (["a", "b", "--cv", "3"], "options of a fit are for --heads"),
        (["a", "b", "--seed", "0"], "options of a fit are for --heads"),
    ],
)
def test_what_does_not_go_together_is_refused(words, says, monkeypatch, capsys):
    assert run(monkeypatch, "compare", *words) == 2
    assert says in capsys.readouterr().err
