"""`fit search`: what is found is what one large matrix of cosines says."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import fit.lookup.candidates
import fit.lookup.search
from fit import fit_head
from fit.commands import app
from fit.lookup.options import SearchOptions
from fit.lookup.search import CLASS, IMAGE, ROW, search_store
from fit.lookup.show import describe_answers, format_answer, require_page_place, write_answers
from store import open_store
from store.command_line import run_app
from store.errors import RecipeMismatch, UsageError
from store.tables import facts
from tests.store.build import VECTOR, SmallStore, make_images

OPTIONS = SearchOptions(top=5, reduce="flatten")
HOSTILE = '<img src=x onerror=alert(1)>"\u202e.png'


def expected(store, query, top, chosen=None):
    """Positions and cosines by all cosines at once."""
    features, _ = store.arrays()
    vectors = features.reshape(len(features), -1).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    cosines = vectors @ vectors[query]
    cosines[query] = -np.inf
    if chosen is not None:
        cosines[~chosen] = -np.inf
    order = np.argsort(-cosines, kind="stable")[:top]
    return order.tolist(), cosines[order]


def found(answer):
    return [match.row for match in answer.matches]


@pytest.mark.parametrize("read_rows", [7, 2048])
def test_the_nearest_to_a_row_are_those_of_all_cosines(color_store, read_rows, monkeypatch):
    monkeypatch.setattr(fit.lookup.candidates, "READ_ROWS", read_rows)
    paths = color_store.images()["path"].to_pylist()
    answers = search_store(color_store, [paths[3], paths[44]], OPTIONS)
    for answer, query in zip(answers, (3, 44), strict=True):
        rows, cosines = expected(color_store, query, 5)
        assert (answer.kind, answer.query) == (ROW, paths[query])
        assert np.allclose([match.score for match in answer.matches], cosines, atol=1e-6)
        assert set(found(answer)) == set(rows)
        assert query not in found(answer)


def test_only_images_of_the_split_and_label_are_searched(tmp_path):
    small = SmallStore(tmp_path / "store", outputs=(VECTOR,))
    images = {
        f"{number:02d}.png": next(
            iter(
                make_images(
                    "x",
                    content=f"image{number:02d}",
                    label=("cat", "dog", "cat|dog")[number % 3],
                    split=("train", "test")[number % 2],
                ).values()
            )
        )
        for number in range(30)
    }
    small.update(images, images_per_shard=4)
    store = open_store(tmp_path / "store")
    numbers = np.arange(30)
    chosen = (numbers % 2 == 1) & np.isin(numbers % 3, (1, 2))
    answer = search_store(store, ["05.png"], SearchOptions(top=50, split="test", label=" dog"))[0]
    assert found(answer) == expected(store, 5, chosen.sum() - 1, chosen)[0]
    with pytest.raises(UsageError, match="no image has the label 'bird': there are cat, dog"):
        search_store(store, ["05.png"], SearchOptions(label="bird"))
    with pytest.raises(UsageError, match="no rows of split 'validation'"):
        search_store(store, ["05.png"], SearchOptions(split="validation"))


def test_an_image_file_goes_through_the_recipe_and_finds_itself(color_store, colors, tmp_path):
    shutil.copy(colors / "red" / "004.png", tmp_path / "query.png")
    answer = search_store(color_store, [str(tmp_path / "query.png")], OPTIONS)[0]
    paths = color_store.images()["path"].to_pylist()
    assert (answer.kind, paths[answer.matches[0].row]) == (IMAGE, "red/004.png")
    assert answer.matches[0].score == pytest.approx(1, abs=1e-5)
    assert answer.matches[0].score <= 1


def test_a_file_that_is_not_an_image_is_an_error_of_that_query_alone(color_store, colors, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not an image")
    answers = search_store(color_store, [str(tmp_path / "broken.png"), "red/000.png"], OPTIONS)
    assert answers[0].error.startswith("not_an_image") or "not an image" in answers[0].error
    assert answers[0].matches == []
    assert len(answers[1].matches) == 5


def test_a_query_that_is_nothing_is_refused_with_an_example(color_store):
    with pytest.raises(UsageError, match=r"red/999\.png is neither an image of the store, .* such as blue/000\.png"):
        search_store(color_store, ["red/999.png"], OPTIONS)


def test_the_most_probable_images_of_a_class_are_found(color_store, tmp_path):
    head = fit_head(color_store, head="logistic")
    head.save(tmp_path / "head")
    options = SearchOptions(top=7, head=tmp_path / "head", class_name="green")
    answer = search_store(color_store, [], options)[0]
    features, _ = color_store.arrays()
    probabilities = head.predict_features(features)[:, 1]
    assert answer.kind == CLASS
    assert np.allclose([match.score for match in answer.matches], np.sort(probabilities)[::-1][:7])
    assert search_store(color_store, [], replace(options, label="red"))[0].matches[0].score < 0.9
    with pytest.raises(UsageError, match="the head has no class 'yellow': it has blue, green, red"):
        search_store(color_store, [], replace(options, class_name="yellow"))


def test_a_head_of_another_recipe_is_refused(color_store, tmp_path):
    fit_head(color_store).save(tmp_path / "head")
    small = SmallStore(tmp_path / "other")
    small.update(make_images("a", "b"))
    with pytest.raises(RecipeMismatch):
        search_store(open_store(tmp_path / "other"), [], SearchOptions(head=tmp_path / "head", class_name="red"))


@pytest.mark.parametrize(
    ("queries", "values", "words"),
    [
        ([], {}, "name either images"),
        (["a"], {"head": "h", "class_name": "red"}, "name either images"),
        (["a"], {"head": "h"}, "go together"),
        (["a"], {"top": 0}, "--top is 0"),
        (["a"], {"reduce": "sum"}, "--reduce is 'sum'"),
    ],
)
def test_options_that_cannot_be_are_refused(queries, values, words, color_store):
    with pytest.raises(UsageError, match=words):
        search_store(color_store, queries, SearchOptions(**values))


def test_features_that_are_not_numbers_are_refused_and_not_passed_over(color_store, monkeypatch):
    whole = fit.lookup.candidates.Streamed.batches

    def broken(self, *arguments):
        for values, rows in whole(self, *arguments):
            values[2] = np.nan
            yield values, rows

    monkeypatch.setattr(fit.lookup.candidates.Streamed, "batches", broken)
    with pytest.raises(UsageError, match="hold NaN or infinity"):
        search_store(color_store, ["red/000.png"], OPTIONS)


def test_what_was_found_is_a_table_and_plain_values(color_store):
    answers = search_store(color_store, ["red/000.png"], OPTIONS)
    lines = facts(format_answer(color_store, answers[0]), 80)
    assert lines[0].split() == ["cosine", "label", "path"]
    assert len(lines) == 6
    described = describe_answers(color_store, answers)[0]
    assert [result["path"] for result in described["results"]] == [line.split()[-1] for line in lines[1:]]
    assert json.dumps(described)


def test_the_page_shows_thumbnails_and_names_as_text(stub, color_store, colors, tmp_path):
    shutil.copy(colors / "red" / "004.png", tmp_path / HOSTILE)
    answers = search_store(color_store, ["red/000.png", str(tmp_path / HOSTILE)], OPTIONS)
    write_answers(color_store, answers, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/") == 12
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    write_answers(color_store, answers[:1], tmp_path / "gone.html", images=tmp_path)
    gone = (tmp_path / "gone.html").read_text(encoding="utf-8")
    assert "say where they are with --images DIR" in gone
    assert "data:image/" not in gone
    with pytest.raises(UsageError, match="exists: choose another --page"):
        require_page_place(tmp_path / "page.html", force=False)
    with pytest.raises(UsageError, match=r"expected a file ending in \.html"):
        require_page_place(tmp_path / "page.txt", force=False)


def test_the_command_runs_as_a_user_types_it(color_store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8), "red").save("query.png")
    monkeypatch.setattr(sys, "argv", ["fit", "search", "store", "query.png", "red/000.png", "--top", "2"])
    assert run_app(app, "fit") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[5]] == ["nearest to query.png", "nearest to red/000.png"]
    assert len(lines) == 9
    (tmp_path / "broken.png").write_bytes(b"")
    monkeypatch.setattr(sys, "argv", ["fit", "search", "store", "broken.png", "--json", "--page", "found.html"])
    assert run_app(app, "fit") == 3
    printed = json.loads(capsys.readouterr().out)
    assert printed["answers"][0]["results"] == []
    assert printed["page"] == "found.html"
    assert (tmp_path / "found.html").exists()
