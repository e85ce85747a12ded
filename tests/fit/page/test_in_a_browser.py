"""The page in a real browser: it works by mouse and keyboard, at any width, in both themes, and hostile names are text."""

import json
import re

import pytest

from fit import fit_head
from fit.head_folder import read_results
from fit.page.gather import PageOptions, gather_content
from fit.page.write import write_page
from store import open_store
from store.files.names import printable
from tests.browser import assert_sound
from tests.fit.page.conftest import HOSTILE_CLASSES, HOSTILE_FILES, HOSTILE_GROUPS
from tests.store.build import Image, SmallStore

SIZES = [(360, False), (360, True), (1280, False), (1280, True)]


@pytest.fixture
def page(browser, hostile):
    """The page, open; whatever a test does on it, nothing may go wrong or ask the network."""
    browser.open(hostile.written.page)
    yield browser
    assert_sound(browser)


def shown(page, selector):
    """Whether an element is visible."""
    return page.run(f"document.querySelector({json.dumps(selector)}).checkVisibility()")


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_it_fits_and_has_its_images_and_theme(browser, hostile, width, dark):
    browser.open(hostile.written.page, width, dark)
    assert browser.run("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    brightness = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (brightness < 60) if dark else (brightness > 200)
    browser.run("Promise.all([...document.images].map((i) => i.decode()))")
    assert browser.run("[...document.images].every((i) => i.naturalWidth > 0)")
    assert len(browser.texts("figure.image")) == 48
    assert not shown(browser, "#cell-images")
    assert_sound(browser)


def test_a_cell_of_the_confusion_matrix_shows_its_images(page, hostile):
    confusion = hostile.results.metrics["confusion"]
    actual, predicted = next(
        (row, column) for row in range(3) for column in range(3) if row != column and confusion[row][column]
    )
    cell = f'button[data-actual="{actual}"][data-predicted="{predicted}"]'
    page.click(cell)
    assert shown(page, "#cell-images")
    assert len(page.texts("#cell-gallery figure")) == confusion[actual][predicted]
    expected = [printable(hostile.results.info.classes[at]) for at in (actual, predicted)]
    for texts in page.run(
        "[...document.querySelectorAll('#cell-gallery figure')].map((f) => [...f.querySelectorAll('bdi')].map((b) => b.textContent))"
    ):
        assert texts == expected
    assert page.run("document.activeElement.id") == "cell-title"
    page.press("Escape")
    assert not shown(page, "#cell-images")
    page.press("Enter")
    assert shown(page, "#cell-images")


def test_tables_are_sorted_by_keyboard(page, hostile):
    f1 = [entry["f1"] for entry in hostile.results.metrics["test"]["per_class"]]
    heading = "#classes thead th:last-child"
    for key, order, expected in (("Enter", "ascending", sorted(f1)), (" ", "descending", sorted(f1, reverse=True))):
        page.focus(f"{heading} button")
        page.press(key)
        assert page.run(f"document.querySelector('{heading}').getAttribute('aria-sort')") == order
        values = page.run(
            "[...document.querySelectorAll('#classes tbody td:last-child')].map((c) => Number(c.dataset.value))"
        )
        assert values == expected
    page.focus("#groups thead button")
    page.press("Enter")
    assert page.texts("#groups tbody th") == sorted(HOSTILE_GROUPS)


def test_images_are_filtered_by_keyboard(page, hostile):
    status = "document.getElementById('status').textContent"
    assert page.run(status).startswith("72 of 72 images, ")
    wrong = int(re.search(r", (\d+) wrong", page.run(status)).group(1))
    page.focus("[name=wrong]")
    page.press(" ")
    assert page.run(status) == f"{wrong} of 72 images, {wrong} wrong"
    assert len(page.texts("#gallery figure")) == wrong
    page.focus("[name=evaluation]")
    page.press("ArrowDown")
    test = page.run("[...document.querySelector('[name=evaluation]').selectedOptions].map((o) => o.textContent)")
    assert test == ["test"]
    assert page.run(status) == f"{hostile_errors(hostile)} of 72 images, {hostile_errors(hostile)} wrong"
    page.focus("#filters button")
    page.press("Enter")
    page.until(f"{status}.startsWith('72 of 72')")
    page.click("#more")
    assert len(page.texts("#gallery figure")) == 72
    page.click("#classes tbody button")
    (name, *_) = page.texts("#classes tbody button")
    images = page.run("[...document.querySelectorAll('#gallery figcaption p:first-child')].map((p) => p.textContent)")
    assert images
    assert set(images) == {name}


def hostile_errors(hostile):
    confusion = hostile.results.metrics["confusion"]
    return sum(map(sum, confusion)) - sum(confusion[at][at] for at in range(3))


def test_the_map_is_walked_with_arrow_keys(page):
    page.focus("#map")
    page.press("ArrowRight")
    first = page.texts("#point .path")
    page.press("ArrowRight")
    (second,) = page.texts("#point .path")
    assert [second] != first
    page.focus("#color")
    page.press("ArrowDown", "ArrowDown")
    assert page.texts("#legend bdi") == ["test", "validation", "train"]
    assert page.run(
        "(() => { const c = document.getElementById('map'); return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); })()"
    )


@pytest.mark.parametrize("count", [30, 43])
def test_each_class_has_a_mark_of_its_own_on_the_map_or_is_named_as_another(browser, tmp_path, count):
    images = {
        f"{name:02d}/{number}.png": Image(f"{name}-{number}", f"class {name:02d}")
        for name in range(count)
        for number in range(5 if name % 4 else 7)
    }
    SmallStore(tmp_path / "store").update(images)
    head = fit_head(open_store(tmp_path / "store"), "centroid", near_twins="ignore")
    results = read_results(head.save(tmp_path / "head"))
    browser.open(write_page(results, results.folder).page)
    look = "((s) => [s.backgroundColor, s.borderRadius, s.clipPath].join())(getComputedStyle(mark))"
    marks = browser.run(f"[...document.querySelectorAll('#legend i')].map((mark) => {look})")
    names, every = browser.texts("#legend bdi"), [f"class {name:02d}" for name in range(count)]
    assert len(set(marks)) == len(marks) == len(names)
    if count == 30:
        assert names == every
    else:
        assert len(names) == 31
        assert names[-1] == "other classes"
        assert set(every[::4]) < set(names)  # the largest
    assert_sound(browser)


def test_a_mistake_has_its_file_s_name_and_both_classes_in_letters_that_can_be_read(page, hostile):
    mistakes = gather_content(hostile.results, PageOptions()).mistakes
    assert mistakes
    shown = [" ".join(text.split()) for text in page.texts("#mistakes .mistake figure.large .path")]
    assert shown == [" ".join(mistake.path.split()) for mistake in mistakes]
    for selector, what in (("p:not(.wrong) bdi", "actual"), ("p.wrong bdi", "predicted")):
        found = page.texts(f"#mistakes .answers > {selector}")
        assert [text.split() for text in found] == [getattr(mistake, what).split() for mistake in mistakes]
    texts = "[...document.querySelectorAll('#mistakes .path, #mistakes .answers > p, #mistakes .near figcaption')]"
    assert page.run(f"Math.min(...{texts}.map((e) => parseFloat(getComputedStyle(e).fontSize)))") >= 11
    assert page.run(f"{texts}.every((e) => e.scrollWidth <= e.clientWidth + 1)")


def test_the_theme_can_be_chosen(page):
    background = "getComputedStyle(document.body).backgroundColor"
    system = page.run(background)
    page.click("#theme")
    assert page.texts("#theme") == ["Theme: light"]
    assert page.run(background) == system
    page.click("#theme")
    assert page.run(background) != system


def test_hostile_names_are_text(page):
    text = page.run("document.body.textContent")
    for name in HOSTILE_CLASSES + HOSTILE_GROUPS:
        assert name in text
    for name in HOSTILE_FILES:
        assert printable(name) in text
    assert "\u202e" not in text
    assert page.run("document.scripts.length") == 2
    assert page.run("document.querySelectorAll('[onerror], [onclick], main script, b').length") == 0
    assert page.texts("#filters [name=actual] option") == ["any", *sorted(HOSTILE_CLASSES)]


def test_a_script_that_is_put_into_the_page_does_not_run(browser, hostile, tmp_path):
    """The policy holds even if something were not escaped."""
    page = hostile.written.page.read_text()
    changed = page.replace(
        "<main", "<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\"><main", 1
    )
    (tmp_path / "changed.html").write_text(changed)
    browser.open(tmp_path / "changed.html")
    assert browser.run("document.title") != "run"
    assert any("Content Security Policy" in problem for problem in browser.problems)


def test_without_scripts_the_numbers_are_there(browser, hostile):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(hostile.written.page)
        assert not shown(browser, "#filters")
        assert shown(browser, "#numbers table")
        assert shown(browser, "noscript p")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
