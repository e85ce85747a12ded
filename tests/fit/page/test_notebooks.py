"""What notebooks show of a store, a run and a head: numbers, and hostile names as text."""

from dataclasses import replace
from html.parser import HTMLParser

from extract import extract as run_extract
from fit.head import Head
from store import open_store
from store.notebook import notebook_table
from tests.fit.page.conftest import HOSTILE_CLASSES


class Elements(HTMLParser):
    """The names of all elements, and all text."""

    def __init__(self, text):
        super().__init__()
        self.names, self.text = set(), ""
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.names.add(name)
        assert not [key for key, _ in attributes if key.startswith("on")]

    def handle_data(self, text):
        self.text += text


def shown(thing):
    """The text that a notebook shows."""
    elements = Elements(thing._repr_html_())
    assert elements.names == {"div", "strong", "table", "tr", "th", "td"}
    return elements.text


def test_a_store_says_what_it_holds(hostile):
    text = shown(hostile.store)
    assert "images72" in text
    assert "4 × 4 × 3, float16" in text
    assert "3 classes: " in text


def test_a_head_says_how_good_it_is(hostile):
    results = hostile.results
    text = shown(Head(results.info, None, results.metrics))
    for name in ("test", "validation", "baseline"):
        assert f"accuracy, {name}{100 * results.metrics[name]['accuracy']['value']:.1f} %" in text
    for name in HOSTILE_CLASSES:
        assert name in text
    assert "accuracy" not in shown(Head(results.info, None, {}))


def test_a_run_says_what_it_did(stub, colors, tmp_path):
    result = run_extract(colors, out=tmp_path / "store", backbone="mobilenet", weights="random", image_size=(16, 16))
    text = shown(result)
    assert "computed60 in " in text
    assert "failures0" in text
    assert "<b>" in shown(replace(result, bottleneck="<b>"))
    assert open_store(tmp_path / "store")._repr_html_()


def test_names_are_on_one_line_and_visible():
    assert "\u202e" not in notebook_table("a\u202e", {"b\n": "c\u202e"})
