"""The map: where images are placed, by principal components or by UMAP."""

import sys
from types import ModuleType

import numpy as np
import pytest
from sklearn.decomposition import PCA

from fit.commands import app
from fit.page.gather import PageOptions, gather_content
from fit.page.map import project
from store.command_line import run_app


def groups(each=40):
    """Two groups of directions, and which of them each row is of."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.3, (2 * each, 32)).astype(np.float32)
    values[:each, :4] += 3
    values[each:, 4:8] += 3
    return values, np.arange(2 * each) < each


def test_the_map_is_that_of_the_principal_components():
    rng = np.random.default_rng(0)
    for rows, columns in ((50, 8), (8, 50)):
        values = (rng.normal(size=(rows, 4)) * (5, 3, 1, 1) @ rng.normal(size=(4, columns))).astype(np.float32)
        expected = PCA(2, svd_solver="full").fit(values)
        found = project(values)
        np.testing.assert_allclose(np.abs(found.points), np.abs(expected.transform(values)), atol=1e-3)
        first, second = (f"{100 * part:.1f}\u00a0%" for part in expected.explained_variance_ratio_)
        assert found.axes.endswith(f"components, with {first} and {second} of the variance")
    assert project(np.ones((1, 4), np.float32)).points.tolist() == [[0.0, 0.0]]
    assert "with 0.0\u00a0% and 0.0\u00a0% of" in project(np.ones((5, 4), np.float32)).axes


@pytest.mark.slow
def test_umap_keeps_groups_apart_and_is_the_same_each_time():
    pytest.importorskip("umap")
    values, first = groups()
    points = project(values, "umap").points
    centers = points[first].mean(axis=0), points[~first].mean(axis=0)
    spread = max(points[first].std(), points[~first].std())
    assert np.linalg.norm(centers[0] - centers[1]) > 2 * spread
    assert np.array_equal(points, project(values, "umap").points)


@pytest.fixture
def umap(monkeypatch):
    """A library of the name that places each row at two of its columns."""

    class UMAP:
        def __init__(self, **options):
            assert options["metric"] == "cosine"

        def fit_transform(self, values):
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)
            return values[:, :2]

    made = ModuleType("umap")
    made.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", made)


def test_the_page_says_how_it_placed_images(hostile, umap):
    content = gather_content(hostile.results, PageOptions(map="umap"))
    assert content.listed.axes.startswith("Placed by UMAP")
    assert all(0 <= x <= 1 for x in content.listed.x)
    assert gather_content(hostile.results, PageOptions()).listed.axes.startswith("Across and up")
    assert "principal components" in project(groups(6)[0], "umap").axes


def test_a_map_that_cannot_be_is_refused(hostile, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "umap", None)
    for way, words in (
        ("umap", "install 'stillframe[umap]'`, or use --map pca"),
        ("tsne", "expected one of pca, umap"),
    ):
        monkeypatch.setattr(sys, "argv", ["fit", "report", str(hostile.results.folder), "--map", way])
        assert run_app(app, "fit") == 2
        assert words in capsys.readouterr().err
