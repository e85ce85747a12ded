"""compare.html in a real browser, with a store of a hostile name."""

import pytest

from extract import extract as run_extract
from fit.compare.grid import fit_grid
from fit.compare.heads import compare_heads
from fit.compare.options import ComparisonOptions
from fit.compare.page import comparison_content, write_comparison
from fit.options import FitOptions
from tests.browser import assert_sound

REFUSED = [("<b>store</b>-cnn", "the head cnn takes <i>spatial</i> tensors")]


@pytest.fixture
def comparison(stub, colors, layered, tmp_path):
    run_extract(colors, out=tmp_path / "store", backbone="mobilenet", weights="random", image_size=(16, 16))
    asked = ComparisonOptions(heads="centroid,knn", stores=(str(layered), str(tmp_path / "store")))
    return compare_heads(fit_grid(asked, FitOptions(cv=2), tmp_path / "heads").heads)


def column(browser, number):
    return browser.texts(f"#heads tbody tr > :nth-child({number})")


def test_it_fits_sorts_by_keyboard_and_shows_names_as_text(comparison, browser, tmp_path):
    page = write_comparison(comparison, REFUSED, tmp_path / "out")
    for width, dark in ((360, True), (800, False), (1280, True), (1280, False)):
        browser.open(page, width, dark)
        assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    names = [name.removesuffix(" best") for name in column(browser, 2)]
    assert sorted(names) == sorted(head.name.rpartition("/")[2] for head in comparison.heads)
    assert any("<script>alert" in name for name in names)
    assert browser.texts("dl.uses dt, dl.uses dd") == list(REFUSED[0])
    content = comparison_content(comparison)
    place = 4 + [name for name, _ in content.columns].index("validation accuracy")
    expected = sorted(head.validation.accuracy.value for head in comparison.heads)
    heading = f"#heads thead th:nth-child({place})"
    for key, order in (("Enter", expected), (" ", expected[::-1])):
        browser.focus(f"{heading} button")
        browser.press(key)
        cells = (
            f"[...document.querySelectorAll('#heads tbody td:nth-child({place})')].map((c) => Number(c.dataset.value))"
        )
        assert browser.run(cells) == order
    assert len(browser.texts("svg .mark")) == 6
    front = [row.number for row in content.rows if row.on_front]
    assert browser.run("document.querySelectorAll('svg circle.one').length") == len(front) == len(comparison.front)
    assert_sound(browser)


def test_what_no_head_has_is_no_column(comparison):
    content = comparison_content(comparison)
    names = [name for name, _ in content.columns]
    assert "test accuracy" not in names
    assert "cv accuracy" in names
    assert "layer" in names
    assert "pooling" not in names
    assert content.same["pooling"] == "avg"
