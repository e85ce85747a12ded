"""Altered views: a head learns from all of them, is evaluated on the unaltered one, and never has an image on both sides."""

import numpy as np
import pytest

from extract import extract as run_extract
from extract.api import Reporter
from fit import fit_head, load_head
from fit.evaluation import evaluate_head
from fit.options import FitOptions
from fit.prediction import predict_store
from fit.train import fit_with
from store import open_store
from tests.fit.conftest import make_colors

VIEWS = 4


@pytest.fixture
def augmented(stub, colors, tmp_path):
    """60 images of three classes in four views each, 4 x 4 x 3."""
    options = {"backbone": "mobilenet", "weights": "random", "image_size": (16, 16)}
    run_extract(colors, out=tmp_path / "augmented", augment=VIEWS - 1, **options)
    return open_store(tmp_path / "augmented")


class Recorder:
    """Learns nothing and remembers what it was shown."""

    def __init__(self, classes):
        self.classes = classes
        self.learnt = self.evaluated = None

    def fit(self, X, y):
        self.learnt, self.targets = X, y
        return self

    def predict(self, X):
        return np.zeros(len(X), np.int64)

    def predict_proba(self, X):
        self.evaluated = X if self.evaluated is None else np.concatenate([self.evaluated, X])
        return np.full((len(X), self.classes), 1 / self.classes)


def recorded_fit(store, **options):
    """What each estimator was shown, as sets of (path, view), and the head."""
    features, rows = store.arrays()
    named = {
        row.astype(np.float32).tobytes(): (path, view)
        for row, path, view in zip(features, rows["path"].to_pylist(), rows["view"].to_pylist(), strict=True)
    }
    made = []

    def build(shape, outputs, seed):
        made.append(Recorder(outputs))
        return made[-1]

    head = fit_head(store, "tests:build", custom_head=build, **options)
    seen = [
        tuple(
            {named[row.tobytes()] for row in part}
            for part in (each.learnt, [] if each.evaluated is None else each.evaluated)
        )
        for each in made
        if each.learnt is not None
    ]
    return seen, head


def with_views(paths):
    return {(path, view) for path in paths for view in range(VIEWS)}


def test_a_head_learns_from_all_views_and_is_evaluated_on_the_unaltered_one(augmented):
    (first, final), head = recorded_fit(augmented, evaluate_test=True)
    paths = {
        split: {
            path
            for path, name in zip(*(head.predictions[column].to_pylist() for column in ("path", "split")), strict=True)
            if name == split
        }
        for split in ("train", "validation", "test")
    }
    assert {split: len(names) for split, names in paths.items()} == head.metrics["rows"]
    assert first[0] == with_views(paths["train"])
    assert final[0] == with_views(paths["train"] | paths["validation"])
    assert first[1] == {(path, 0) for path in paths["train"] | paths["validation"]}
    assert final[1] == {(path, 0) for path in paths["test"]}


def test_no_fold_has_an_image_on_both_sides(augmented):
    (_, final, *folds), head = recorded_fit(augmented, cv=3)
    every = {path for path, _ in final[0]}
    assert len(folds) == 3
    for learnt, evaluated in folds:
        held_out = {path for path, _ in evaluated}
        assert evaluated == {(path, 0) for path in held_out}
        assert learnt == with_views(every - held_out)
    assert head.metrics["cv"]["rows"] == 48


def test_the_images_of_each_split_are_those_of_a_store_without_views(augmented, color_store):
    plain, beside = (fit_head(store, "logistic", evaluate_test=True).predictions for store in (color_store, augmented))
    for split in ("train", "validation", "test"):
        names = [
            {
                path
                for path, name in zip(table["path"].to_pylist(), table["split"].to_pylist(), strict=True)
                if name == split
            }
            for table in (plain, beside)
        ]
        assert names[0] == names[1]


@pytest.mark.parametrize("name", ["logistic", "linear", "sgd", "dense"])
def test_heads_learn_from_views(name, augmented, tmp_path):
    messages = []
    options = FitOptions(name, parameters={"epochs": 10} if name != "logistic" else {})
    head = fit_with(augmented, options, Reporter(messages.append))
    assert "fitting" in messages[0]
    assert "36 images in 4 views of 3 classes" in messages[0]
    assert len(head.metrics["confusion"]) == 3
    head.save(tmp_path / "head")
    loaded = load_head(tmp_path / "head")
    table = predict_store(loaded, augmented)
    assert table["path"].to_pylist() == augmented.images()["path"].to_pylist()


def test_a_head_of_views_serves_stores_without_and_the_other_way_round(augmented, color_store, colors):
    trained, plain = fit_head(augmented, "logistic"), fit_head(color_store, "logistic")
    for head in (trained, plain):
        numbers = [evaluate_head(head, store)["evaluation"]["accuracy"] for store in (augmented, color_store)]
        assert numbers[0] == numbers[1]
    image = colors / "red" / "000.png"
    predicted = trained.predict(image)["probability"][0].as_py()
    row = augmented.images()["path"].to_pylist().index("red/000.png")
    assert predicted == pytest.approx(predict_store(trained, augmented)["probability"][row].as_py())


def test_labels_leave_out_images_with_all_of_their_views(augmented, tmp_path):
    kept = [path for path in augmented.images()["path"].to_pylist() if not path.startswith("red")]
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\n" + "\n".join(f"{path},{path.split('/')[0]}" for path in kept))
    (first, final), head = recorded_fit(augmented, labels=labels)
    assert head.classes == ("blue", "green")
    learnt = {path for path, _ in first[0] | final[0]}
    assert learnt < set(kept)
    assert first[0] == with_views({path for path, _ in first[0]})


def test_twins_are_counted_by_images_not_by_views(stub, tmp_path):
    data = make_colors(tmp_path / "data", each=6)
    (data / "red" / "copy.png").write_bytes((data / "red" / "000.png").read_bytes())
    options = {"backbone": "mobilenet", "weights": "random", "image_size": (16, 16), "augment": 2}
    run_extract(data, out=tmp_path / "store", **options)
    messages = []
    fit_with(open_store(tmp_path / "store"), FitOptions("centroid"), Reporter(messages.append))
    assert messages[0].startswith("2 images are identical to another")
