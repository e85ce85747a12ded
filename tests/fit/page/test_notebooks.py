"""What notebooks show of a store, a run and a head: numbers, and hostile names as text."""

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from PIL import Image

import fit.page.sources
from extract import extract as run_extract
from fit import fit_head, load_head
from fit.evaluated import evaluated_rows
from fit.head import Head
from fit.page.sources import most_confident_errors
from store import open_store
from store.files.names import printable
from store.notebook import notebook_table
from tests.fit.page.conftest import HOSTILE_CLASSES, HOSTILE_FILES


class Elements(HTMLParser):
    """The names of all elements, and all text."""

    def __init__(self, text):
        super().__init__()
        self.names, self.text, self.images = set(), "", []
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.names.add(name)
        assert not [key for key, _ in attributes if key.startswith("on")]
        if name == "img":
            self.images.append(dict(attributes))

    def handle_data(self, text):
        self.text += text


TABLE = {"div", "strong", "table", "tr", "th", "td"}
PICTURES = {"p", "figure", "img", "figcaption"}


def shown(thing):
    """The text that a notebook shows, of something without pictures."""
    elements = Elements(thing._repr_html_())
    assert elements.names == TABLE
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


def test_a_head_shows_what_it_predicts_worst_and_hostile_names_are_text(hostile):
    tested = [row for row in hostile.results.predictions.to_pylist() if row["split"] == "test"]
    of_each = [[row for row in tested if row["path"].startswith(name)][:2] for name in HOSTILE_FILES]
    assert all(of_each)
    predictions = pa.Table.from_pylist([row for rows in of_each for row in rows])
    other = dict(zip(HOSTILE_CLASSES, HOSTILE_CLASSES[1:] + HOSTILE_CLASSES[:1], strict=True))
    labels = [other[label] for label in predictions["predicted"].to_pylist()]
    turned = predictions.set_column(1, "label", [labels])  # all are wrong
    head = Head(hostile.results.info, None, hostile.results.metrics, turned)
    elements = Elements(head._repr_html_())
    assert elements.names == TABLE | PICTURES
    evaluated = evaluated_rows(replace(hostile.results, predictions=turned), "test")
    worst = most_confident_errors(evaluated)[:12]
    assert len(worst) == len(predictions) == len(elements.images)
    for image, row in zip(elements.images, worst, strict=True):
        assert set(image) == {"src", "alt", "title", "style"}
        assert image["title"] == image["alt"] == printable(evaluated.paths[row])
        kind, _, data = image["src"].partition(";base64,")
        assert kind.startswith("data:image/")
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as picture:
            assert picture.size == (36, 24)
        assert f"{evaluated.labels[row]}, predicted {evaluated.predicted[row]}" in elements.text
    for name in HOSTILE_FILES:
        assert any(printable(name) in image["title"] for image in elements.images), name
    assert "\u202e" not in head._repr_html_()
    assert len(Elements(load_head(hostile.results.folder)._repr_html_()).images) == 2


def test_a_head_without_its_images_shows_numbers(hostile, tmp_path, monkeypatch):
    results = hostile.results
    moved = replace(results.info, data=str(tmp_path / "gone"))
    assert "accuracy, test" in shown(Head(moved, None, results.metrics, results.predictions))
    far = replace(results.info, data="s3://bucket/images.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(fit.page.sources, "any_present", None)  # the bucket is not asked
        assert "accuracy, test" in shown(Head(far, None, results.metrics, results.predictions))
    head = Head(results.info, None, results.metrics)
    head.folder = tmp_path / "gone"
    assert "accuracy, test" in shown(head)


@pytest.mark.parametrize(("head", "task"), [("centroid", "classification"), ("ridge", "regression")])
def test_pictures_are_few_and_say_what_they_are_of(color_store, head, task, tmp_path):
    labels = None
    if task == "regression":
        labels = tmp_path / "labels.csv"
        paths = color_store.images()["path"].to_pylist()
        labels.write_text("path,label\n" + "".join(f"{path},{len(path) + at / 60}\n" for at, path in enumerate(paths)))
    fitted = fit_head(color_store, head, labels=labels, task=task, cv=2)
    elements = Elements(fitted._repr_html_())
    assert 0 < len(elements.images) <= 12
    assert ("mean absolute error, cv" if labels else "accuracy, cv") in elements.text
    assert ("largest errors of 48 cross-validated" if labels else "48 cross-validated images") in elements.text
    assert len(fitted._repr_html_()) < 100_000


def test_a_run_says_what_it_did(stub, colors, tmp_path):
    result = run_extract(colors, out=tmp_path / "store", backbone="mobilenet", weights="random", image_size=(16, 16))
    text = shown(result)
    assert "computed60 in " in text
    assert "failures0" in text
    assert "<b>" in shown(replace(result, bottleneck="<b>"))
    assert open_store(tmp_path / "store")._repr_html_()


def test_names_are_on_one_line_and_visible():
    assert "\u202e" not in notebook_table("a\u202e", {"b\n": "c\u202e"})
