import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

import fit.page.sources
import fit.report.gather
import fit.report.pictures
from extract import extract as run_extract
from fit import fit_head
from fit.head_folder import read_results
from fit.report.pictures import write_report
from store.errors import DamagedHead, EnvironmentFailure, UsageError

NUMBERS = {"confusion.png", "classes.png", "calibration.png"}
IMAGES = {"samples.png", "average.png"}


@pytest.fixture
def results(color_store, tmp_path):
    return read_results(fit_head(color_store, evaluate_test=True).save(tmp_path / "head"))


@pytest.fixture
def drawn(monkeypatch):
    """What each draw function was given, by its name."""
    calls = {}
    for name in ("draw_mistakes", "draw_samples", "draw_averages", "draw_confusion", "draw_calibration"):
        real = getattr(fit.report.pictures, name)

        def record(*arguments, name=name, real=real):
            calls[name] = arguments
            return real(*arguments)

        monkeypatch.setattr(fit.report.pictures, name, record)
    return calls


def with_mistakes(results, probabilities):
    """The results, but the first test images are taken for another class with these probabilities."""
    table = results.predictions
    rows = np.flatnonzero(np.array(table["split"].to_pylist()) == "test")[: len(probabilities)]
    columns = {name: table[name].to_numpy().copy() for name in results.info.classes}
    for row, probability in zip(rows, probabilities, strict=True):
        label = table["label"][int(row)].as_py()
        others = [name for name in results.info.classes if name != label]
        for name, value in zip([others[0], others[1], label], (probability, 0.0, 1 - probability), strict=True):
            columns[name][row] = value
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    return replace(results, predictions=table), [table["path"][int(row)].as_py() for row in rows]


def size(path):
    with Image.open(path) as image:
        assert np.asarray(image.convert("RGB")).std() > 5
        return image.size


def test_the_pictures_of_a_head(results, colors, drawn):
    changed, paths = with_mistakes(results, [0.8, 0.99, 0.6])
    report = write_report(changed)
    assert report.folder == results.folder / "report"
    assert set(report.pictures) == {path.name for path in report.folder.iterdir()}
    assert NUMBERS | IMAGES | {"mistakes.png"} <= set(report.pictures)
    assert report.left_out == {}
    for name in report.pictures:
        assert min(size(report.folder / name)) > 150
    mistakes, wrong, of = drawn["draw_mistakes"]
    assert wrong == len(mistakes)
    assert of == "12 test images"
    chances = [mistake.probability for mistake in mistakes]
    assert chances == sorted(chances, reverse=True)
    assert {0.99, 0.8, 0.6} <= set(chances)
    (most_confident,) = [mistake for mistake in mistakes if mistake.probability == 0.99]
    source = Image.open(colors / paths[1]).resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(most_confident.pixels, np.asarray(source))
    assert most_confident.actual == paths[1].split("/")[0] != most_confident.predicted
    assert drawn["draw_confusion"][1].sum() == 12


def test_samples_and_averages_are_of_all_images(results, colors, drawn):
    write_report(results)
    samples, _ = drawn["draw_samples"]
    assert [(sample.name, len(sample.images)) for sample in samples] == [("blue", 8), ("green", 8), ("red", 8)]
    averages, note = drawn["draw_averages"]
    assert [average.images for average in averages] == [20, 20, 20]
    reds = [
        np.asarray(Image.open(path).resize((16, 16), Image.Resampling.BILINEAR)) for path in (colors / "red").iterdir()
    ]
    assert np.abs(averages[2].pixels - np.mean(reds, axis=0)).max() <= 0.5
    assert "all images of each class" in note


def test_caps_are_said(results, drawn, monkeypatch):
    monkeypatch.setattr(fit.report.gather, "AVERAGED_IMAGES", 5)
    monkeypatch.setattr(fit.report.gather, "AVERAGED_CLASSES", 2)
    write_report(results)
    averages, note = drawn["draw_averages"]
    assert [average.images for average in averages] == [5, 5]
    assert "up to 5 images of each class" in note
    assert "the 2 of 3 classes" in note


def test_no_mistakes_are_said_and_not_drawn(results):
    table = results.predictions
    right = table.filter(pc.equal(table["label"], table["predicted"]))
    report = write_report(replace(results, predictions=right))
    assert report.no_mistakes.startswith("no mistakes among the ")
    assert "mistakes.png" not in report.pictures
    assert not (report.folder / "mistakes.png").exists()


def test_images_that_have_moved(results, colors, tmp_path):
    moved = replace(results, info=replace(results.info, data="/nowhere/at/all"))
    changed, _ = with_mistakes(moved, [0.9])
    report = write_report(changed)
    assert set(report.pictures) == NUMBERS
    assert set(report.left_out) == IMAGES | {"mistakes.png"}
    assert set(report.left_out.values()) == {"none of the head's images is in /nowhere/at/all"}
    report = write_report(changed, images=colors)
    assert set(report.pictures) >= NUMBERS | IMAGES | {"mistakes.png"}
    with pytest.raises(UsageError, match="there is no such folder"):
        write_report(changed, images=tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file: name a folder"):
        write_report(changed, out=tmp_path / "file")


def test_the_images_are_looked_for_once(results, monkeypatch):
    roots = []
    real = fit.page.sources.any_present

    def recorded(root, paths):
        roots.append(root)
        return real(root, paths)

    monkeypatch.setattr(fit.page.sources, "any_present", recorded)
    changed, _ = with_mistakes(results, [0.9])
    assert write_report(changed).left_out == {}
    assert len(roots) == 1


def test_a_head_of_an_earlier_version(results, colors):
    described = json.loads((results.folder / "head.json").read_text())
    assert described.pop("data") == str(colors)
    (results.folder / "head.json").write_text(json.dumps(described))
    old = read_results(results.folder)
    assert "earlier version" in write_report(old).left_out["samples.png"]
    assert write_report(old, images=colors).left_out == {}


def test_bad_images_are_skipped_and_a_listing_is_found(stub, colors, tmp_path, drawn):
    shutil.copytree(colors, tmp_path / "data")
    names = [path.relative_to(tmp_path / "data").as_posix() for path in sorted(tmp_path.glob("data/*/*.png"))]
    listing = tmp_path / "data" / "listing.csv"
    listing.write_text("path,label\n" + "".join(f"{name},{name.split('/')[0]}\n" for name in names))
    run_extract(listing, out=tmp_path / "store", backbone="mobilenet", weights="random", image_size=(16, 16))
    results = read_results(fit_head(tmp_path / "store", evaluate_test=True).save(tmp_path / "head"))
    (tmp_path / "data" / "red" / "003.png").write_bytes(b"broken")
    (tmp_path / "data" / "red" / "004.png").unlink()
    assert write_report(results).left_out == {}
    assert [average.images for average in drawn["draw_averages"][0]] == [20, 20, 18]


def test_several_labels(color_store, tmp_path, drawn):
    words = {"red": "warm", "green": "cold|leaf", "blue": "cold"}
    paths = color_store.table()["path"].to_pylist()
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{path},{words[path.split('/')[0]]}\n" for path in paths))
    head = fit_head(color_store, "knn", labels=table, parameters={"neighbors": 36}, evaluate_test=True)
    results = read_results(head.save(tmp_path / "head"))
    report = write_report(results)
    assert set(report.pictures) >= NUMBERS | IMAGES
    assert [average.images for average in drawn["draw_averages"][0]] == [40, 20, 20]
    assert sum(entry.decisions for entry in drawn["draw_calibration"][0]) == 12 * 3
    for mistake in drawn["draw_mistakes"][0]:
        assert set(mistake.actual.split("|")) != set(mistake.predicted.split("|"))


@pytest.mark.parametrize(
    ("options", "of"),
    [
        ({"test": 0.0}, "validation images"),
        ({"test": 0.0, "cv": 2}, "cross-validated images"),
        ({"test": 0.0, "val": 0.0}, "training images"),
    ],
)
def test_without_a_test(color_store, tmp_path, options, of, drawn):
    results = read_results(fit_head(color_store, "centroid", **options).save(tmp_path / "head"))
    report = write_report(results, tmp_path / "elsewhere")
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} >= NUMBERS | IMAGES
    assert report.pictures["confusion.png"].count(of) == 1
    assert drawn["draw_confusion"][2].endswith(of)


def test_training_is_drawn_of_a_network(color_store, tmp_path):
    head = fit_head(color_store, "dense", parameters={"epochs": 2})
    report = write_report(read_results(head.save(tmp_path / "head")))
    assert "training.png" in report.pictures


def test_a_folder_that_cannot_be_read_or_written(results, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailure, match="cannot write"):
        write_report(results, tmp_path / "file" / "report")
    (results.folder / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedHead, match="cannot be read"):
        read_results(results.folder)
    (results.folder / "predictions.parquet").unlink()
    with pytest.raises(DamagedHead, match="is missing"):
        read_results(results.folder)


def test_a_picture_is_there_whole_or_not_at_all(results, monkeypatch):
    first = write_report(results)
    before = (first.folder / "confusion.png").read_bytes()

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(EnvironmentFailure, match="No space left"):
        write_report(results)
    assert (first.folder / "confusion.png").read_bytes() == before
    assert not [path for path in first.folder.iterdir() if path.name.endswith(".part")]
    assert Image.open(io.BytesIO(before)).format == "PNG"
