import ast
import io
import logging
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from fit.metrics.calibration import reliability
from fit.metrics.intervals import Interval
from fit.metrics.scores import ClassScores
from fit.report.comparisons import Change, Compared, draw_changes, draw_comparison, draw_sweep
from fit.report.images import Average, Mistake, Sample, draw_averages, draw_mistakes, draw_samples
from fit.report.numbers import draw_calibration, draw_classes, draw_confusion, draw_label_confusion, draw_training
from fit.report.style import BLUE, GREEN, ORANGE, drawable, to_png

ODD = ("a$b_c$", "猫 dog", "two\nlines", "x" * 80, "Ünïcödé", r"\alpha{", "")
GOOD, WORSE = Interval(0.9, 0.8, 0.95), Interval(0.6, 0.5, 0.7)


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(to_png(figure))).convert("RGB"))


def thumbnails(figure):
    return [axes for axes in figure.axes if axes.images]


def noise(number=0, height=16, width=24):
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def odd_figures():
    """Every picture, with names that are hard to draw."""
    counts = np.arange(len(ODD) ** 2).reshape(len(ODD), len(ODD))
    scores = [ClassScores(name, 0.5, 0.75, 0.6, 4) for name in ODD]
    yield draw_confusion(ODD, counts, "9 test images")
    yield draw_label_confusion(ODD, np.ones((len(ODD), 4), np.int64), "9 test images")
    yield draw_training(
        {"loss": [1.0, 0.5], "accuracy": [0.5, 0.7], "val_loss": [1.1, 0.9], "val_accuracy": [0.4, 0.6]}
    )
    yield draw_calibration(reliability(np.array([0.3, 0.9]), np.array([True, False])), GOOD, "9 test images")
    yield draw_classes(scores, "9 test images")
    yield draw_mistakes([Mistake(name, noise(), name, name, 0.9) for name in ODD], 9, "10 test images")
    yield draw_samples([Sample(name, [noise()]) for name in ODD], "all")
    yield draw_averages([Average(name, noise(), 3) for name in ODD], "all")
    yield draw_comparison([Compared(name, GOOD, None, None) for name in ODD], ODD[0])
    yield draw_changes(GOOD, [Change(name, None, False) for name in ODD], "accuracy", "")
    yield draw_sweep({"kind": ODD[:2], "rate": (0.1, 1e-9)}, [GOOD, WORSE], 0, "log_loss", "")


def test_every_picture_is_drawn_whatever_the_names_and_the_same_each_time():
    for first, second in zip(odd_figures(), odd_figures(), strict=True):
        drawn = pixels(first)
        assert drawn.std() > 5
        assert np.array_equal(drawn, pixels(second))
        assert drawn[:2].min() == 255  # nothing is cut off at the top
        assert not any("猫" in text or ("\n" in text.strip() and "lines" in text) for text in texts(first))


def test_names_stay_what_they_are():
    figure = draw_confusion(["a$b_c$", "b"], np.eye(2, dtype=int), "2 test images")
    labels = figure.axes[0].get_xticklabels() + figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["a$b_c$", "b"] * 2
    assert not any(text.get_parse_math() for text in figure.findobj(Text))
    assert drawable("猫 dog") in ("猫 dog", r"\u732b dog")
    assert drawable("a" * 40 + "z", 10) == "aaaaaa…aaz"
    assert drawable("two\nlines") == r"two\nlines"


def test_nothing_global_is_touched():
    before = dict(mpl.rcParams)
    to_png(draw_training({"loss": [1.0], "accuracy": [0.5]}))
    assert dict(mpl.rcParams) == before
    for path in (Path(__file__).parents[3] / "fit").rglob("*.py"):
        names = [alias.name for node in ast.walk(ast.parse(path.read_text())) for alias in getattr(node, "names", [])]
        assert not any("pyplot" in str(name) for name in names), path


def test_a_small_confusion_shows_every_count():
    matrix = np.array([[5, 1, 0], [0, 7, 2], [3, 0, 9]])
    figure = draw_confusion(["cat", "dog", "owl"], matrix, "27 test images")
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares, matrix / matrix.sum(axis=1, keepdims=True))
    assert sorted(text for text in texts(figure.axes[0]) if text.isdigit()) == sorted("517239")
    assert any(text.startswith("27 test images") for text in texts(figure))


def test_of_many_classes_the_most_confused_are_shown_and_the_others_counted():
    matrix = np.diag(np.full(200, 4))
    matrix[7, 8] = matrix[150, 3] = 5
    figure = draw_confusion([f"class{number}" for number in range(200)], matrix, "810 test images")
    shown_names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(shown_names) == 30
    assert {"class7", "class8", "class150", "class3"} <= set(shown_names)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == [*shown_names, "others"]
    np.testing.assert_allclose(figure.axes[0].images[0].get_array().sum(axis=1), 1)
    assert any("the 30 of 200 classes" in text for text in texts(figure))


def test_labels_are_told_apart_by_what_was_missed_and_given():
    figure = draw_label_confusion(["cold"], np.array([[6, 2, 1, 3]]), "12 test images")
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[3 / 4, 1 / 4, 2 / 8, 6 / 8]])


def test_training_shows_what_the_history_has():
    figure = draw_training({"loss": [3.0, 2.0, 1.0], "accuracy": [0.1, 0.2, 0.3], "val_loss": [3.0, 1.0, 2.0]})
    loss, accuracy = figure.axes
    assert [list(line.get_ydata()) for line in loss.lines[:-1]] == [[3, 2, 1], [3, 1, 2]]
    assert [list(line.get_ydata()) for line in accuracy.lines[:-1]] == [[0.1, 0.2, 0.3]]
    assert "3 epochs; the weights of epoch 2 are kept, where validation loss is lowest" in texts(figure)
    assert [axes.lines[-1].get_xdata()[0] for axes in figure.axes] == [2, 2]


def test_training_marks_the_epoch_whose_weights_are_kept():
    history = {"loss": [3.0, 2.0, 1.0, 0.5], "accuracy": [0.1, 0.2, 0.3, 0.4], "val_loss": [1.0, 2.0, 3.0, 4.0]}
    history["val_accuracy"] = [0.1, 0.5, 0.7, 0.7]
    figure = draw_training(history, "val_accuracy")
    assert "4 epochs; the weights of epoch 3 are kept, where validation accuracy is highest" in texts(figure)
    assert figure.axes[0].lines[-1].get_xdata()[0] == 3
    without = draw_training({"loss": [3.0, 2.0], "accuracy": [0.1, 0.2]})
    assert "2 epochs; the weights of epoch 2 are kept" in texts(without)


def test_classes_come_worst_first_and_at_most_forty():
    classes = [ClassScores(f"class{number}", 1.0, 0.5, number / 100, 3) for number in range(99, -1, -1)]
    figure = draw_classes(classes, "300 test images")
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels[:2] == ["class0  (3)", "class1  (3)"]
    assert len(labels) == 40
    precision, recall, f1 = (scatter.get_offsets()[:, 1] for scatter in figure.axes[0].collections[1:])
    assert not set(precision) & set(recall)
    assert not set(recall) & set(f1)
    assert any("the 40 of 100 classes" in text for text in texts(figure))


@pytest.mark.parametrize("classes", [1, 7, 40])
def test_marks_of_equal_values_do_not_hide_one_another(classes):
    def visible(precision, recall, f1):
        scores = [ClassScores(f"class{number}", precision, recall, f1, 3) for number in range(classes)]
        drawn = pixels(draw_classes(scores, "9 test images"))
        return [
            int((drawn == np.round(255 * np.array(to_rgb(color)))).all(axis=2).sum()) for color in (GREEN, ORANGE, BLUE)
        ]

    apart, equal = visible(0.2, 0.5, 0.8), visible(0.5, 0.5, 0.5)
    assert min(apart) > 20 * classes
    assert all(alone * 0.95 < beside < alone * 1.05 for alone, beside in zip(apart, equal, strict=True))


def test_captions_of_mistakes_end_with_the_file_s_name_and_do_not_touch():
    files = (
        "IMG_20240131_123456_HDR.jpg",
        "2024/site/camera/trap_night.png",
        "W" * 40 + ".png",
        "猫" * 30 + ".png",
        "",
    )
    names = ("Canis lupus familiaris", "W" * 30, "vehicle", "猫の写真です" * 6, "")
    mistakes = [
        Mistake(files[number % 5], noise(), names[number % 5], names[number // 2 % 5], 1.0 - number / 99)
        for number in range(20)
    ]
    figure = draw_mistakes(mistakes, 20, "200 test images")
    renderer = FigureCanvasAgg(figure).get_renderer()
    captions = [text for axes in thumbnails(figure) for text in axes.texts if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in captions]
    width, height = figure.bbox.width, figure.bbox.height
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
    assert min(text.get_fontsize() for text in captions) >= 4
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number]), captions[number].get_text()
    shown = [texts(axes)[0] for axes in thumbnails(figure)]
    assert shown[0] == files[0]
    assert shown[1].endswith("camera/trap_night.png")
    assert "W" * 20 in shown[2]
    assert shown[2].endswith(".png")


def test_mistakes_have_a_thumbnail_each_with_both_names():
    mistakes = [
        Mistake(f"a/{number}.png", noise(number), "cat", f"dog{number}", 0.987 - number / 10) for number in range(8)
    ]
    figure = draw_mistakes(mistakes, 30, "200 test images")
    assert len(thumbnails(figure)) == 8
    assert np.array_equal(thumbnails(figure)[3].images[0].get_array(), noise(3))
    assert texts(thumbnails(figure)[0]) == ["a/0.png", "actual cat", "predicted dog0 (99 %)"]
    long = draw_mistakes([Mistake("folder/" * 9 + "0123.png", noise(), "cat", "dog", 0.5)], 1, "9 test images")
    assert texts(thumbnails(long)[0])[0] == "…folder/folder/folder/0123.png"
    assert any("30 of 200 test images, the 8 most confident errors" in text for text in texts(figure))


def test_samples_are_a_row_a_class_and_averages_one_image():
    figure = draw_samples([Sample("cat", [noise(), noise(1)]), Sample("dog", [noise(2)])], "all")
    assert len(thumbnails(figure)) == 3
    heights = [axes.get_position().y0 for axes in thumbnails(figure)]
    assert heights[0] == heights[1] > heights[2]
    figure = draw_averages([Average("cat", noise(), 12)], "all")
    assert texts(thumbnails(figure)[0]) == ["cat (12)"]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_a_sweep_has_a_panel_a_parameter_and_marks_the_chosen(metric):
    rates = [10.0**-power for power in range(8)]
    figure = draw_sweep({"rate": rates, "optimizer": ["adam", "sgd"] * 4}, [WORSE] * 7 + [GOOD], 7, metric, "8 trials")
    first, second = figure.axes
    assert first.get_xscale() == "log"
    assert [text.get_text() for text in second.get_xticklabels()] == ["adam", "sgd"]
    chosen = first.collections[-1].get_offsets()
    np.testing.assert_allclose(chosen, [[1e-7, 0.9]])
    assert f"validation {metric.replace('_', ' ')}" in texts(figure)


def test_changes_stand_beside_the_base():
    changes = [Change("dropout=0.2", GOOD, True), Change("kernel=9", None, False)]
    figure = draw_changes(WORSE, changes, "accuracy", "3 trials")
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["dropout=0.2", "kernel=9 (refused)"]
    assert {"chosen", "base settings, with 95 % interval"} <= set(texts(figure))


def test_the_logger_of_matplotlib_keeps_its_level():
    logger = logging.getLogger("matplotlib")
    before = logger.level
    try:
        for level in (logging.NOTSET, logging.DEBUG):
            logger.setLevel(level)
            to_png(draw_training({"loss": [1.0], "accuracy": [0.5]}))
            assert logger.level == level
    finally:
        logger.setLevel(before)
