"""What the page is made of: which images, which numbers, and text that is only text."""

import base64
import hashlib
import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

import fit.page.gather
import fit.page.thumbnails
import fit.thumbnails
from extract import extract as run_extract
from extract.api import BadImage, read_thumbnails
from fit import fit_head
from fit.head_folder import read_results
from fit.metrics.calibration import reliability
from fit.page.card import markdown_text
from fit.page.charts import reliability_chart, training_charts
from fit.page.content import Number
from fit.page.features import find_features
from fit.page.gather import BESIDE_A_FIT, PageOptions, gather_content
from fit.page.images import gather_images, order_of_need
from fit.page.numbers import confusion_table, label_table, number, score_table
from fit.page.render import render_page, resource, script_data
from fit.page.thumbnails import ThumbnailRequest, make_thumbnails
from fit.page.write import write_page, write_page_beside
from fit.thumbnails import SIDE
from store.errors import EnvironmentFailure
from store.files.names import printable
from tests.fit.page.conftest import HOSTILE_CLASSES


def data_of(html):
    """What the scripts of a page read."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL).group(1))


# The whole


def test_the_page_is_one_file_that_asks_for_nothing(hostile):
    html = hostile.written.page.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"|url\(|@import|https?://(?!json-schema)', html)
    assert hostile.written.notes == ()
    assert hostile.written.images == hostile.written.thumbnails == 72
    data = data_of(html)
    assert len(data["paths"]) == len(data["x"]) == len(data["thumbnail"]) == 72
    assert data["classes"] == sorted(HOSTILE_CLASSES)
    assert sum(not right for right in data["right"]) > 0


def test_the_policy_lets_only_our_own_scripts_and_style_run(hostile):
    html = hostile.written.page.read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html).group(1).replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(
        r"\sstyle=|\son\w+=[\"']",
        re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL).replace("onerror=alert", ""),
    )


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "a\u2028b", "&lt;", '"', "\\", "\ud7ff"])
def test_nothing_in_the_data_ends_its_element(text):
    written = script_data({"name": text})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {"name": text}


def test_the_same_head_gives_the_same_page(hostile):
    options = PageOptions()
    first, second = (render_page(gather_content(hostile.results, options)) for _ in range(2))
    assert first == second == hostile.written.page.read_text()


# Images


def test_what_a_page_needs_most_comes_first(hostile):
    images = gather_images(hostile.results)
    assert len(set(images.paths)) == len(images) == 72
    order = order_of_need(images, [np.array([5, 5, 9])], "test")
    assert sorted(order.tolist()) == list(range(72))
    assert order[:2].tolist() == [5, 9]
    errors = [at for at in range(72) if images.evaluations[at] == "test" and not images.right[at]]
    assert set(order[: len(errors) + 2 + 24].tolist()) >= set(errors)


def test_caps_are_kept_and_reported(hostile, monkeypatch):
    monkeypatch.setattr(fit.page.gather, "MOST_IMAGES", 30)
    content = gather_content(hostile.results, PageOptions(thumbnails=10))
    assert len(content.listed.paths) == 30
    assert content.thumbnails == 10
    html = render_page(content)
    assert "30 of 72 images are on this page" in html
    assert "10 have a thumbnail. `fit report` makes up to 30." in html
    shown = [content.listed.paths[mistake.image] for mistake in content.mistakes]
    assert shown == [mistake.path for mistake in content.mistakes]


def test_thumbnails_stop_at_a_number_of_bytes(hostile, monkeypatch):
    root = hostile.store.folder.root.parent / "data"
    asked = ThumbnailRequest(hostile.results.predictions["path"].to_pylist()[:20], {}, "#ffffff")
    sizes = [len(text) for text in make_thumbnails(str(root), asked).encoded.values()]
    monkeypatch.setattr(fit.thumbnails, "MOST_CHARACTERS", sum(sizes[:5]) + 1)
    assert len(make_thumbnails(str(root), asked).encoded) == 5


def test_thumbnails_have_the_shape_of_the_image_and_are_never_enlarged(tmp_path):
    shapes = {"wide.png": (600, 300), "small.png": (20, 10), "thin.png": (1, 900), "turned.jpg": (300, 600)}
    for name, size in shapes.items():
        exif = Image.Exif()
        exif[0x0112] = 6
        options = {"exif": exif} if name == "turned.jpg" else {}
        Image.new("RGB", size, "red").save(tmp_path / name, **options)
    Image.new("RGBA", (20, 10), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    names = [*shapes, "clear.png", "broken.png", "missing.png"]
    *good, clear, broken, missing = read_thumbnails(tmp_path, names, "#00ff00", SIDE)
    assert [pixels.shape for pixels in good] == [(64, 128, 3), (10, 20, 3), (128, 1, 3), (64, 128, 3)]
    assert (clear == (0, 255, 0)).all()
    assert isinstance(broken, BadImage)
    assert isinstance(missing, BadImage)


def test_an_average_is_that_of_the_images_named(tmp_path):
    for name, color in (("a.png", (0, 0, 0)), ("b.png", (200, 100, 50)), ("c.png", (255, 255, 255))):
        Image.new("RGB", (40, 30), color).save(tmp_path / name)
    made = make_thumbnails(
        str(tmp_path),
        ThumbnailRequest(["c.png", "a.png", "b.png", "none.png"], {3: ["a.png", "b.png", "none.png"]}, "#ffffff"),
    )
    assert set(made.encoded) == {"a.png", "b.png", "c.png"}
    assert made.averages[3].images == 2
    data = made.averages[3].uri.partition(",")[2]
    (tmp_path / "average").write_bytes(base64.b64decode(data))
    assert np.abs(np.asarray(Image.open(tmp_path / "average").convert("RGB"), int) - (100, 50, 25)).max() <= 6


# Features


def test_the_nearest_training_images_are_beside_a_mistake(hostile):
    content = gather_content(hostile.results, PageOptions())
    features = find_features(hostile.results.info)
    rows = hostile.results.predictions.to_pylist()
    train = sorted({row["path"] for row in rows if row["split"] == "train"})
    values, _ = features.take(train)
    values = values / np.linalg.norm(values, axis=1, keepdims=True)
    names = {printable(path): path for path in features.position_of}
    for mistake in content.mistakes:
        (asked,), _ = features.take([names[mistake.path]])
        cosines = values @ (asked / np.linalg.norm(asked))
        best = [printable(train[at]) for at in np.argsort(-cosines, kind="stable")[:3]]
        assert [near.path for near in mistake.near] == best
        assert mistake.near[0].cosine == f"{cosines.max():.2f}"
        assert content.listed.paths[mistake.near[0].image] == best[0]


def test_the_features_are_those_of_the_unaltered_view(stub, colors, tmp_path):
    options = {"backbone": "mobilenet", "weights": "random", "image_size": (16, 16)}
    run_extract(colors, out=tmp_path / "altered", augment=2, **options)
    run_extract(colors, out=tmp_path / "plain", **options)
    results = read_results(fit_head(tmp_path / "altered", "centroid").save(tmp_path / "head"))
    altered = find_features(results.info)
    plain = find_features(results.info, [str(tmp_path / "plain")])
    paths = ["red/003.png", "no such image", "blue/001.png"]
    (values, rows), (expected, _) = altered.take(paths), plain.take(paths)
    assert sorted(rows.tolist()) == [0, 2]
    assert rows.tolist() == [2, 0]  # as they are in the store
    np.testing.assert_array_equal(values, expected)


def test_groups_come_worst_first(hostile):
    content = gather_content(hostile.results, PageOptions())
    group_of = hostile.store.images().to_pydict()
    groups = dict(zip(group_of["path"], group_of["group"], strict=True))
    test = [row for row in hostile.results.predictions.to_pylist() if row["split"] == "test"]
    assert content.groups.column == "group"
    for group in content.groups.groups:
        members = [row for row in test if groups[row["path"]] == group.name]
        assert group.images == len(members)
        assert group.share == np.mean([row["label"] == row["predicted"] for row in members])
    assert sum(group.images for group in content.groups.groups) == len(test)
    shares = [group.share for group in content.groups.groups]
    assert shares == sorted(shares)


def test_the_column_that_was_asked_for_takes_the_place_of_groups(hostile):
    accuracy = {"value": 0.25, "low": 0.1, "high": 0.5}
    values = [{"value": None, "rows": 4, "groups": 4, "accuracy": accuracy}]
    values.append({"value": "<i>", "rows": 2, "groups": 2, "accuracy": {**accuracy, "low": None, "reason": "too few"}})
    metrics = {**hostile.results.metrics, "by": {"column": "<b>site", "of": "test", "values": values}}
    content = gather_content(replace(hostile.results, metrics=metrics), PageOptions())
    assert [(group.name, group.accuracy.interval) for group in content.groups.groups] == [
        ("none", "10.0 to 50.0\u00a0%"),
        ("<i>", ""),
    ]
    html = render_page(content)
    assert "By &lt;b&gt;site</h2>" in html
    assert "<bdi>&lt;i&gt;</bdi>" in html


def test_the_reason_why_there_is_no_interval_is_given(hostile):
    few = {"value": 0.5, "low": None, "high": None, "reason": "12 images"}
    metrics = {**hostile.results.metrics, "test": {**hostile.results.metrics["test"], "accuracy": few}}
    scores = score_table(metrics)
    assert ("12 images", "accuracy (test)") in scores.reasons
    content = replace(gather_content(hostile.results, PageOptions()), scores=scores, accuracy=number("accuracy", few))
    html = render_page(content)
    assert "<li>No interval of accuracy (test): 12 images.</li>" in html
    assert "no interval: 12 images</dd>" in html


# What is missing


def moved_info(info, data, store):
    """What a head is whose images and features have been moved there."""
    return replace(info, data=data, blocks=tuple(replace(block, store=store) for block in info.blocks))


def test_a_page_without_images_and_store_says_why(hostile):
    moved = replace(hostile.results, info=moved_info(hostile.results.info, "/nowhere", "/nowhere/store"))
    content = gather_content(moved, PageOptions())
    assert [note.partition(":")[0] for note in content.notes] == ["No map and no nearest images", "No thumbnails"]
    assert content.thumbnails == 0
    assert not content.listed.x
    assert "<canvas" not in render_page(content)
    found = gather_content(
        moved, PageOptions(hostile.store.folder.root.parent / "data", (str(hostile.store.folder.root),))
    )
    assert found.notes == []
    assert found.thumbnails == 72
    old = replace(hostile.results, info=moved_info(hostile.results.info, "", ""))
    assert all("earlier version" in note for note in gather_content(old, PageOptions()).notes)


def test_the_store_of_another_recipe_is_not_taken(hostile, stub, colors, tmp_path):
    run_extract(colors, out=tmp_path / "other", backbone="mobilenet", weights="random", image_size=(24, 24))
    content = gather_content(hostile.results, PageOptions(features=(str(tmp_path / "other"),)))
    assert "another recipe" in content.notes[0]


def test_a_large_store_is_left_to_fit_report(hostile):
    content = gather_content(hostile.results, replace(BESIDE_A_FIT, feature_bytes=100))
    assert content.notes == ["The store is large: `fit report` adds the map and the nearest training images."]
    assert content.groups
    assert not content.listed.x


def test_a_page_that_cannot_be_written_is_a_warning_beside_a_fit(hostile, tmp_path, monkeypatch):
    def fails(*_):
        raise EnvironmentFailure("the disk is full")

    messages = []

    class Recorder:
        def message(self, text):
            messages.append(text)

    monkeypatch.setattr("fit.page.write.write_page", fails)
    assert write_page_beside(hostile.results.folder, [hostile.store], Recorder()) is None
    assert messages == ["warning: there is no report.html: the disk is full"]


def test_test_images_that_were_not_evaluated_are_mentioned(hostile):
    rows = hostile.results.predictions
    unseen = replace(
        hostile.results,
        metrics={**hostile.results.metrics, "test": None, "confusion_of": "validation"},
        predictions=rows.filter(pc.not_equal(rows["split"], "test")),
    )
    content = gather_content(unseen, PageOptions())
    tested = hostile.results.metrics["rows"]["test"]
    folder, store = (shlex.quote(place) for place in (str(unseen.folder), unseen.info.blocks[0].store))
    words = f"`fit evaluate {folder} --features {store} --split test`, then `fit report {folder}`, shows them."
    assert content.notes == [f"The {tested} test images are not on this page: {words}"]
    assert content.total == 72 - tested
    assert "optimistic" in content.chosen_on


# Numbers


def test_numbers_have_their_units_and_intervals():
    metric = {"value": 0.9584, "low": 0.93, "high": 0.978}
    assert number("accuracy", metric).value == "95.8\u00a0%"
    assert number("accuracy", metric).interval == "93.0 to 97.8\u00a0%"
    assert number("log_loss", metric).interval == "0.930 to 0.978"
    few = {"value": 0.5, "low": None, "high": None, "reason": "too few groups"}
    assert number("accuracy", few) == Number("50.0\u00a0%", "", "too few groups")
    assert number("accuracy", {"value": None, "low": None, "high": None}).value == "-"


def test_evaluations_that_were_not_made_have_no_column(hostile):
    metrics = {**hostile.results.metrics, "test": None}
    table = score_table(metrics)
    assert table.evaluations == ["validation", "baseline"]
    assert [name for name, _ in table.rows][:2] == ["accuracy", "balanced accuracy"]
    assert "choosing" in dict(table.notes)["validation"]


def test_of_many_classes_the_most_confused_are_shown():
    matrix = np.diag(np.full(100, 4))
    matrix[7, 8] = matrix[60, 3] = 5
    table = confusion_table([f"class{at}" for at in range(100)], matrix, "410 images")
    assert len(table.rows) == 30
    assert table.columns[-1] == "others"
    names = [name for name, _ in table.rows]
    assert {"class7", "class8", "class60", "class3"} <= set(names)
    (cell,) = [cell for _, cells in table.rows for cell in cells if cell.says == "class7 taken for class8"]
    assert (cell.images, cell.actual, cell.predicted, cell.right, cell.shade) == (5, "7", "8", False, 4)
    assert "the 30 of 100 classes" in table.note


def test_labels_have_cells_for_what_was_missed_and_given():
    table = label_table(["cold"], np.array([[6, 2, 1, 3]]), "12 images")
    ((_, cells),) = table.rows
    assert [cell.images for cell in cells] == [3, 1, 2, 6]
    assert [(cell.actual, cell.predicted) for cell in cells] == [("0", "0"), ("0", "!0"), ("!0", "0"), ("!0", "!0")]


def test_several_labels_have_a_page(color_store, tmp_path):
    words = {"red": "warm", "green": "cold|leaf", "blue": "cold"}
    paths = color_store.table()["path"].to_pylist()
    (tmp_path / "labels.csv").write_text(
        "path,label\n" + "".join(f"{path},{words[path.split('/')[0]]}\n" for path in paths)
    )
    head = fit_head(
        color_store, "knn", labels=tmp_path / "labels.csv", parameters={"neighbors": 36}, evaluate_test=True
    )
    written = write_page(read_results(head.save(tmp_path / "head")), tmp_path / "head")
    data = data_of(written.page.read_text())
    assert data["multi_label"]
    assert [0, 1] in data["actual"]
    assert "correctly not given" in written.page.read_text()


@pytest.mark.parametrize(
    "options", [{"test": 0.0}, {"test": 0.0, "cv": 2}, {"test": 0.0, "val": 0.0}, {"cv": 2, "evaluate_test": True}]
)
def test_every_kind_of_evaluation_has_a_page(color_store, tmp_path, options):
    results = read_results(fit_head(color_store, "centroid", **options).save(tmp_path / "head"))
    content = gather_content(results, PageOptions())
    assert content.reported == results.metrics["confusion_of"]
    assert len(content.listed.paths) == 60
    assert content.accuracy.value in render_page(content)


def test_charts_have_their_points_where_the_values_are():
    chart = reliability_chart(reliability(np.array([0.25, 0.75, 0.75]), np.array([True, True, False])))
    assert [(point.x, point.y, point.bar) for point in chart.points] == [(100, 0, 35), (300, 150, 70)]
    loss, accuracy = training_charts(
        {"loss": [4.0, 2.0, np.nan], "val_loss": [4.0, 1.0, 2.0], "accuracy": [0.0, 0.5, 1.0]}, 2
    )
    assert [line.points for line in loss.lines] == ["0.0,0.0 200.0,150.0", "0.0,0.0 200.0,225.0 400.0,150.0"]
    assert loss.lines[0].last == "-"
    assert accuracy.lines[0].points == "0.0,300.0 200.0,150.0 400.0,0.0"
    assert loss.kept == accuracy.kept == 200
    assert [tick.label for tick in accuracy.up] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    (uneven, *_) = training_charts({"loss": [1.76, 0.4]}, 1)
    assert [tick.label for tick in uneven.up] == ["0", "0.5", "1", "1.5", "2"]
    (flat, *_) = training_charts({"loss": [0.0]}, 1)
    assert [tick.label for tick in flat.up] == ["0", "0.25", "0.5", "0.75", "1"]


# The style


def contrast(first, second):
    """The contrast ratio of two colors (WCAG 2.2)."""

    def luminance(color):
        channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_can_be_read_in_both_themes():
    blocks = [
        dict(re.findall(r"--(\w+): (#\w{6})", text))
        for text in re.findall(r"\{([^{}]*--bg:[^{}]*)\}", resource("page.css"))
    ]
    assert len(blocks) == 3
    assert blocks[1] == blocks[2]
    for theme in blocks:
        for ground in ("bg", "panel"):
            for text in ("ink", "soft", "accent", "wrong", "one", "two"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
        for kind in ("hit", "miss"):
            for shade in range(1, 8):
                text = theme["under" if shade < 5 else "over"]
                assert contrast(text, theme[f"{kind}{shade}"]) >= 4.5, (kind, shade)


# The card


def test_the_card_has_the_usual_sections_and_no_markup_of_names(hostile):
    card = hostile.written.card.read_text()
    headings = re.findall(r"^#+ (.*)$", card, re.MULTILINE)
    assert headings[1:] == [
        "Model details",
        "Uses",
        "Bias, risks and limitations",
        "How to get started with the model",
        "Training details",
        "Evaluation",
        "Technical specifications",
    ]
    assert not re.search(r"(?<!\\)<\w", card)
    assert card.startswith("---\nlibrary_name: stillframe\n")
    assert markdown_text("a_b [c](d) <e>") == r"a\_b \[c\](d) \<e\>"


def test_a_card_that_is_there_is_kept(hostile, tmp_path):
    (tmp_path / "README.md").write_text("edited")
    written = write_page(hostile.results, tmp_path)
    assert written.card is None
    assert (tmp_path / "README.md").read_text() == "edited"
    assert written.page == tmp_path / "report.html"


# Size


@pytest.mark.slow
def test_the_page_of_a_hundred_thousand_images_is_below_fifteen_megabytes(hostile, monkeypatch):
    rng = np.random.default_rng(0)
    count, classes = 100_000, hostile.results.info.classes
    labels = rng.integers(0, 3, count)
    probabilities = rng.dirichlet((1, 1, 1), count)
    table = pa.table(
        {
            "path": [f"a folder with a long name/another one/image-{number:09d}.jpg" for number in range(count)],
            "label": [classes[at] for at in labels],
            "predicted": [classes[at] for at in probabilities.argmax(axis=1)],
            "probability": probabilities.max(axis=1),
            **{name: probabilities[:, at] for at, name in enumerate(classes)},
            "split": np.array(["train", "validation", "test"])[rng.integers(0, 3, count)],
        }
    )
    noise = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)  # the worst case: noise does not compress

    def read(root, paths, background, side):
        return iter([noise] * len(paths))

    monkeypatch.setattr(fit.page.thumbnails, "read_thumbnails", read)
    monkeypatch.setattr(fit.page.gather, "find_images_of", lambda results, images: "/data")
    html = render_page(gather_content(replace(hostile.results, predictions=table), PageOptions()))
    assert 5_000_000 < len(html.encode()) < 15_000_000
    assert "5,000 of 100,000 images" in html
