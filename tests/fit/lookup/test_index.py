"""`fit search --index`: what an approximate index finds, where it is kept, and what it says of itself."""

import json
import sys

import numpy as np
import pytest

from fit.commands import app
from fit.lookup.index import Recall
from fit.lookup.options import SearchOptions
from fit.lookup.search import search_store
from store import open_store
from store.command_line import run_app
from store.errors import UsageError
from tests.store.build import VECTOR, SmallStore, make_images

PATHS = [f"{number:03d}.png" for number in range(300)]
OPTIONS = SearchOptions(top=5, index=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STILLFRAME_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "indexes"


@pytest.fixture
def small(tmp_path):
    made = SmallStore(tmp_path / "store", outputs=(VECTOR,))
    made.update(make_images(*PATHS), images_per_shard=64)
    return made


def search(small, queries, options=OPTIONS):
    pytest.importorskip("usearch")
    return search_store(open_store(str(small.folder)), queries, options)


def test_it_finds_what_exact_search_finds_and_says_how_sure_that_is(small):
    for answer, exact in zip(search(small, PATHS[::50]), search(small, PATHS[::50], SearchOptions(top=5)), strict=True):
        assert [match.row for match in answer.matches] == [match.row for match in exact.matches]
        assert np.allclose([m.score for m in answer.matches], [m.score for m in exact.matches], atol=2e-3)
        assert answer.recall == Recall(answer.recall.value, 100, 10)
        assert answer.recall.value > 0.9
        assert exact.recall is None


def test_it_is_built_once_outside_the_store_and_again_for_other_images(small, cache, tmp_path):
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    (first,) = search(small, PATHS[:1])
    assert {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()} == before
    (index,) = cache.glob("*.usearch")
    stamp = index.stat().st_mtime_ns
    assert search(small, PATHS[:1]) == [first]
    assert [path.stat().st_mtime_ns for path in cache.glob("*.usearch")] == [stamp]
    index.with_suffix(".json").write_text("{")
    assert search(small, PATHS[:1])[0].recall.value > 0.9  # built again, by several threads: never quite the same
    assert json.loads(index.with_suffix(".json").read_text())
    small.update(make_images(*PATHS[100:]), images_per_shard=64)
    rows = [match.row for match in search(small, PATHS[-1:])[0].matches]
    assert rows == [match.row for match in search(small, PATHS[-1:], SearchOptions(top=5))[0].matches]
    assert len(list(cache.glob("*.usearch"))) == 2


def test_fewer_images_than_are_asked_for_are_all_found(tmp_path):
    made = SmallStore(tmp_path / "few", outputs=(VECTOR,))
    made.update(make_images(*PATHS[:4]))
    for top in (3, 50):
        (answer,) = search(made, PATHS[:1], SearchOptions(top=top, index=True))
        assert sorted(match.row for match in answer.matches) == [1, 2, 3]


def test_a_recall_below_one_is_said(small, monkeypatch, capsys):
    import fit.lookup.index

    real = fit.lookup.index._search

    def forgetful(index, queries, k):
        found = real(index, queries, k)
        if len(queries) > 1:
            found.rows[:, 0], found.cosines[:, 0] = -1, -np.inf
        return found

    pytest.importorskip("usearch")
    monkeypatch.setattr(fit.lookup.index, "_search", forgetful)
    monkeypatch.setattr(sys, "argv", ["fit", "search", str(small.folder), PATHS[0], "--index"])
    assert run_app(app, "fit") == 0
    printed = " ".join(capsys.readouterr().out.split())
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    assert run_app(app, "fit") == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    recall = answer["recall"]
    assert (recall["images"], recall["nearest"]) == (100, 10)
    assert 0.8 < recall["value"] <= 0.9  # an index is built by several threads and may miss others too
    assert f"the index finds {100 * recall['value']:.1f}% of the 10 nearest of 100 images that were tried" in printed


def test_without_the_extra_the_command_that_installs_it_is_named(small, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    monkeypatch.setattr(sys, "argv", ["fit", "search", str(small.folder), PATHS[0], "--index"])
    assert run_app(app, "fit") == 2
    assert "install 'stillframe[index]'`, or leave it out for exact search" in capsys.readouterr().err


@pytest.mark.parametrize("limit", [{"split": "test"}, {"label": "a"}, {"head": "h", "class_name": "a"}])
def test_an_index_is_of_all_images(limit):
    with pytest.raises(UsageError, match="--index searches all images: leave out"):
        SearchOptions(index=True, **limit)
