import gc
import importlib
import logging
import weakref
from dataclasses import replace

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegressionCV, RidgeClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from fit.data import InMemory, Source
from fit.heads.base import HeadSpec, Origin
from fit.heads.build import build_classifier, find_kind, rebuild_network
from fit.heads.classifiers import GroupedBatchClassifier, GroupedClassifier
from fit.heads.inner import inner_splits
from fit.heads.keras import Cnn, Conv, Dense, DropoutDense, MobilenetDense, SqueezeExcite, linear_model
from fit.heads.labels import OnePerLabel
from fit.heads.linear import linear_form
from fit.heads.neighbors import NearestMean, SimilarNeighbors
from fit.heads.ridge import CalibratedRidge
from fit.heads.sklearn import Calibrated, Logistic, Rounded, StochasticGradient
from fit.heads.streamed import StreamedSoftmax
from fit.heads.table import HEADS, get_head
from fit.model_file import dump_estimator, load_estimator
from fit.task import Task
from store.errors import UsageError
from store.recipe import Output
from tests.store.build import make_recipe

SCIKIT = [kind.name for kind in HEADS.values() if kind.library == "scikit-learn"]
ORIGIN = Origin(make_recipe(), Output("features", "top", "none", (4, 4, 3), "float16"), "imagenet")


def blobs(classes=3, rows=90, features=6, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    centers = rng.normal(0, 2, (classes, features))
    return (centers[y] + rng.normal(0, 1, (rows, features))).astype(np.float32), y


def make(name, multi_label=False, shape=(6,), **given):
    """An unfitted head for three classes."""
    task = Task(("a", "b", "c"), multi_label)
    return build_classifier(HeadSpec(name, get_head(name).complete(given), shape, task, "none", 0, ORIGIN))


def fit(classifier, X, y):
    classifier.fit(Source(InMemory(X), np.arange(len(X)), y), None, np.arange(len(X)))
    return classifier


@pytest.mark.parametrize(
    "estimator",
    [
        Logistic(),
        Calibrated(RidgeClassifier()),
        CalibratedRidge(),
        SimilarNeighbors(),
        NearestMean(),
        Calibrated(make_pipeline(Normalizer(), NearestMean()), "temperature"),
        StochasticGradient(),
        pytest.param(StreamedSoftmax(), marks=pytest.mark.slow),
        Rounded(),
    ],
    ids=lambda estimator: f"{type(estimator).__name__}",
)
@pytest.mark.filterwarnings("ignore")
def test_our_estimators_have_scikit_learns_manners(estimator):
    check_estimator(estimator, on_skip=None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "head",
    [Dense(units=32, dropout=0.0, epochs=20), MobilenetDense(units="32,32", epochs=20)],
    ids=["dense", "mobilenet"],
)
def test_networks_have_scikit_learns_manners(head):
    check_estimator(head.set_params(learning_rate=0.01), on_skip=None)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_the_table_says_what_a_head_can_do(name):
    kind = HEADS[name]
    classifier = make(name, shape=(4, 4, 3))
    assert classifier.streams == kind.streams
    assert classifier.stops_early == kind.stops_early
    assert classifier.is_network == (kind.library == "keras")
    assert isinstance(classifier, GroupedClassifier | GroupedBatchClassifier) == kind.takes_groups
    if kind.library == "keras" or name in ("logistic", "linear", "sgd"):
        known = (classifier.network if classifier.is_network else classifier.model).get_params()
        assert {parameter.name: parameter.default for parameter in kind.parameters}.items() <= known.items()


@pytest.mark.parametrize("name", [name for name in SCIKIT if HEADS[name].multi_label])
def test_each_label_has_an_estimator_where_the_table_says_so(name, monkeypatch):
    for one_per_label in (HEADS[name].one_per_label, False):
        monkeypatch.setitem(HEADS, name, replace(HEADS[name], one_per_label=one_per_label))
        assert isinstance(make(name, multi_label=True).model, OnePerLabel) == one_per_label
        assert not isinstance(make(name).model, OnePerLabel)


def test_heads_with_an_estimator_per_label_are_such_that_fit_on_arrays_with_groups():
    kinds = [kind for kind in HEADS.values() if kind.one_per_label]
    assert all(kind.multi_label and kind.takes_groups and not kind.streams for kind in kinds)


@pytest.mark.parametrize("name", SCIKIT)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_head_learns_again_the_same_and_is_the_same_after_loading(name, tmp_path):
    X, y = blobs()
    fitted = []
    for _ in range(2):
        classifier = fit(make(name), X, y)
        fitted.append(classifier.predict_proba(X))
    assert np.array_equal(*fitted)
    assert accuracy_score(y, fitted[0].argmax(axis=1)) > 0.9
    np.testing.assert_allclose(fitted[0].sum(axis=1), 1, atol=1e-6)
    loaded = load_estimator(tmp_path / "head.skops", dump_estimator(classifier.model))
    assert np.array_equal(loaded.predict_proba(X), fitted[0])


@pytest.mark.parametrize("name", [kind.name for kind in HEADS.values() if kind.linear])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_linear_head_as_layers_gives_the_same(name, classes):
    X, y = blobs(classes)
    X = X * 50 + 7
    estimator = make(name).model
    estimator.fit(X, y)
    found = np.asarray(linear_model(linear_form(estimator)).predict_on_batch(X), np.float64)
    if classes == 2:
        found = np.concatenate([1 - found, found], axis=1)
    np.testing.assert_allclose(found, estimator.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("name", ["logistic", "knn"])
def test_rows_with_several_labels(name, tmp_path):
    X, y = blobs()
    targets = np.stack([y == 0, y != 2, X[:, 0] > 0], axis=1)
    classifier = fit(make(name, multi_label=True), X, targets)
    values = classifier.predict_proba(X)
    assert values.shape == (90, 3)
    assert ((values >= 0.5) == targets).mean() > 0.85
    loaded = load_estimator(tmp_path / "head.skops", dump_estimator(classifier.model))
    assert np.array_equal(loaded.predict_proba(X), values)
    if name == "logistic":
        found = np.asarray(linear_model(linear_form(classifier.model)).predict_on_batch(X))
        np.testing.assert_allclose(found, values, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_logistic_is_as_good_as_scikit_learns_own_search():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X, y = X[:900].astype(np.float32), y[:900]
    ours, theirs = [], []
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(X, y):
        own = Logistic().fit(X[train], y[train])
        search = LogisticRegressionCV(
            Cs=10, cv=5, l1_ratios=(0.0,), use_legacy_attributes=False, scoring="accuracy", max_iter=1000
        )
        reference = make_pipeline(StandardScaler(), search).fit(X[train], y[train])
        ours.append(accuracy_score(y[test], own.predict(X[test])))
        theirs.append(accuracy_score(y[test], reference.predict(X[test])))
    assert np.mean(ours) >= np.mean(theirs) - 0.005


def test_inner_folds_keep_groups_whole_and_every_class_in_train():
    y = np.repeat([0, 1], 30)
    groups = np.arange(60) // 3
    splits = inner_splits(y, groups, 5, 0)
    assert len(splits) == 5
    for train, test in splits:
        assert not set(groups[train]) & set(groups[test])
        assert set(y[train]) == {0, 1}


def test_rounding_hides_noise_and_keeps_order():
    X = np.random.default_rng(0).normal(5, 2, (500, 3)).astype(np.float32)
    rounded = Rounded().fit(X)
    noisy = X * (1 + np.float32(1e-6))
    assert (rounded.transform(X) == rounded.transform(noisy)).mean() > 0.999
    assert (np.diff(rounded.transform(np.sort(X, axis=0)), axis=0) >= 0).all()


@pytest.mark.parametrize(
    ("head", "shape", "classes", "parameters"),
    [
        (Conv(filters=2048, units=1024), (6, 6, 2048), 2, 37_750_784 + 8_389_632 + 1_025),
        (Cnn(), (100, 100, 3), 2, 896 + 9_248 + 18_496 + 589_888 + 65),
        (Cnn(activation="prelu"), (100, 100, 3), 2, 896 + 9_248 + 18_496 + 589_888 + 65 + (32 + 32 + 64 + 64)),
        (Cnn(activation="leaky_relu", padding="valid"), (100, 100, 3), 3, 896 + 9_248 + 18_496 + 409_664 + 195),
        (DropoutDense(), (5, 5, 2048), 5, 52_429_824 + 2 * 1_049_600 + 5_125),
        (DropoutDense(), (5, 5, 2048), 2, 52_429_824 + 2 * 1_049_600 + 2_050),
        (SqueezeExcite(), (5, 5, 2048), 5, 1_049_088 + 1_050_624 + 52_429_824 + 2 * 1_049_600 + 5_125),
        (MobilenetDense(), (1024,), 2, 2 * 1_049_600 + 524_800 + 1_026),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else None,
)
def test_layers_are_as_wide_as_computed_by_hand(head, shape, classes, parameters):
    head.start(shape, classes, multi_label=False)
    assert head.model_.count_params() == parameters
    assert head.model_.layers[-1].activation.__name__ == (
        "softmax" if classes > 2 or head.always_softmax else "sigmoid"
    )


def test_squeeze_and_excitation_scales_what_is_flattened():
    head = SqueezeExcite(units=8)
    head.start((3, 3, 8), 3, multi_label=False)
    X = np.random.default_rng(0).normal(size=(2, 3, 3, 8)).astype(np.float32)
    squeeze, excite = [layer.get_weights() for layer in head.model_.layers if layer.name.startswith("dense")][:2]
    hidden = np.maximum(X.mean(axis=(1, 2)) @ squeeze[0] + squeeze[1], 0)
    scales = 1 / (1 + np.exp(-(hidden @ excite[0] + excite[1])))
    flattened = keras.Model(
        head.model_.input, next(layer for layer in head.model_.layers if "flatten" in layer.name).output
    )
    expected = (X * scales[:, None, None, :]).reshape(2, -1)
    np.testing.assert_allclose(flattened.predict_on_batch(X), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "momentum"), [("sgd", 0.7), ("RMSprop", 0.7), ("adam", None)], ids=["sgd", "rmsprop", "adam"]
)
def test_momentum_goes_to_the_optimizers_that_have_it(optimizer, momentum):
    made = DropoutDense(optimizer=optimizer, momentum=0.7)._optimizer()
    assert made.get_config().get("momentum") == momentum
    assert float(made.learning_rate) == pytest.approx(0.0001)


def stripes(rows=60):
    """Small images in two classes: stripes down, stripes across, and noise."""
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 2
    down = np.tile((np.arange(12) // 2 % 2)[None, :, None], (12, 1, 3)).astype(np.float32)
    X = np.where(y[:, None, None, None] == 0, down, down.transpose(1, 0, 2))
    return (X * 0.5 + rng.uniform(0, 0.5, X.shape)).astype(np.float32), y


def small_cnn(**given):
    return Cnn(**{"filters": "8", "units": 8, "dropout": 0.0, "epochs": 4, "learning_rate": 0.01, **given})


def test_only_training_sees_changed_images_and_the_seed_decides_how():
    X, _ = stripes()
    first, again = (small_cnn().augmentation() for _ in range(2))
    changed = [first(X[:8]), first(X[:8])]
    assert np.array_equal(changed[0], again(X[:8]))
    assert not np.array_equal(*changed)
    assert not np.array_equal(changed[0], small_cnn(random_state=1).augmentation()(X[:8]))
    assert 0.1 < np.abs(changed[0] - X[:8]).mean() < 0.5
    np.testing.assert_allclose(small_cnn(shear=0.0, zoom=0.0, flip="none").augmentation()(X[:8]), X[:8], atol=1e-5)
    mirrored = small_cnn(shear=0.0, zoom=0.0).augmentation()(X)
    flipped = np.abs(mirrored - X[:, :, ::-1]).max(axis=(1, 2, 3)) < 1e-5
    assert 0.25 < flipped.mean() < 0.75
    assert (flipped | (np.abs(mirrored - X).max(axis=(1, 2, 3)) < 1e-5)).all()


def test_a_cnn_learns_the_same_again_and_keeps_the_epoch_of_the_smallest_validation_loss():
    X, y = stripes()
    rows = np.arange(len(X))
    fitted = []
    for _ in range(2):
        network = small_cnn(batch_size=8).fit_batches(
            Source(InMemory(X), rows[:40], y), Source(InMemory(X), rows[40:], y)
        )
        fitted.append(network.predict_proba(X))
    assert np.array_equal(*fitted)
    reached = accuracy_score(y[40:], network.predict(X[40:]))
    best = int(np.argmin(network.history_["val_loss"]))
    assert reached == pytest.approx(network.history_["val_accuracy"][best])
    assert reached > 0.9
    kinds = {type(layer).__name__ for layer in network.model_.layers}
    assert kinds == {"InputLayer", "Conv2D", "ReLU", "MaxPooling2D", "Flatten", "Dense", "Dropout"}


@pytest.mark.parametrize(("classes", "head"), [(2, Dense), (3, Dense), (3, Conv)])
def test_a_network_stops_early_and_keeps_the_best_epoch(classes, head):
    X, y = blobs(classes, features=48)
    X = X.reshape(-1, 4, 4, 3) if head is Conv else X
    rows = np.arange(len(X))
    network = head(units=16, epochs=60, patience=3, learning_rate=0.01, batch_size=8)  # of several sizes
    if head is Conv:
        network.set_params(filters=8, kernel=2)
    network.fit_batches(Source(InMemory(X), rows[:60], y), Source(InMemory(X), rows[60:], y))
    losses = network.history_["val_loss"]
    assert len(losses) <= 60
    values = network.predict_proba(X[60:])
    loss = -np.log(np.clip(values[np.arange(30), y[60:]], 1e-7, 1)).mean()
    assert loss == pytest.approx(min(losses), rel=0.01)
    assert "learning_rate" in network.history_


def test_a_network_is_the_same_for_the_same_seed_and_whatever_comes_with_a_row():
    X, y = blobs()
    first, second = (Dense(units=8, epochs=3).fit(X, y) for _ in range(2))
    assert np.array_equal(first.predict_proba(X), second.predict_proba(X))
    assert np.array_equal(first.predict_proba(X)[5:6], first.predict_proba(X[5:6]))


def test_class_weights_help_the_rare_class():
    X, y = blobs(2, rows=300)
    rare = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:8]])
    noisy = X[rare] + np.random.default_rng(1).normal(0, 3, X[rare].shape).astype(np.float32)
    plain = Dense(units=8, epochs=20).fit(noisy, y[rare])
    balanced = Dense(units=8, epochs=20, class_weight="balanced").fit(noisy, y[rare])
    assert balanced.predict_proba(noisy)[:, 1].mean() > plain.predict_proba(noisy)[:, 1].mean()


def test_an_unknown_head_and_a_wrong_parameter_are_refused():
    with pytest.raises(UsageError, match="did you mean logistic"):
        get_head("logistc")
    with pytest.raises(UsageError, match="has no parameter 'depth'"):
        get_head("forest").complete({"depth": 3})
    with pytest.raises(UsageError, match="expected a whole number"):
        get_head("forest").complete({"trees": "many"})
    with pytest.raises(UsageError, match="module:function"):
        find_kind("no_such_module:head")


def test_a_head_below_the_smallest_value_of_a_parameter_is_refused():
    kind = get_head("forest")
    kind.require_possible(kind.complete({"trees": 1}))
    with pytest.raises(UsageError, match="trees is 0: expected 1 or more"):
        kind.require_possible(kind.complete({"trees": 0}))


def test_only_a_network_is_rebuilt():
    spec = HeadSpec("knn", get_head("knn").complete({}), (6,), Task(("a", "b"), False), "none", 0, ORIGIN)
    with pytest.raises(UsageError, match="knn is not a network"):
        rebuild_network(spec)


def test_the_table_of_heads_says_what_each_head_keeps_weights_by():
    networks = {kind.name: kind for kind in HEADS.values() if kind.library == "keras"}
    modules = {
        name: importlib.import_module(f"fit.heads.{kind.build.split(':')[0]}") for name, kind in networks.items()
    }
    for name, kind in networks.items():
        assert getattr(modules[name], kind.build.split(":")[1]).monitor == kind.monitor


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_a_parameter_that_is_not_a_finite_number_is_refused(text):
    """JSON has no such numbers: the head could not be loaded again."""
    with pytest.raises(UsageError, match=f"alpha is '{text}': expected a number"):
        HEADS["sgd"].complete({"alpha": text})


def test_several_networks_in_one_process_are_fitted_without_advice_of_tensorflow():
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    try:
        X, y = blobs()
        for _ in range(3):
            Dense(units=0, epochs=1).fit(X, y).predict(X)
    finally:
        logger.removeHandler(handler)
    assert said == []


def test_a_network_that_is_dropped_leaves_no_graph_behind():
    """A graph holds the weights and the optimizer's state: half a gigabyte for each fold of dropout_dense."""

    def graphs():
        gc.collect()
        return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())

    X, y = blobs(rows=30)
    before = graphs()
    DropoutDense(epochs=1, units=4).fit_batches(Source(InMemory(X.reshape(30, 1, 1, 6)), np.arange(30), y))
    assert graphs() <= before


def test_a_large_network_that_was_dropped_is_freed_before_the_next_is_trained():
    X, y = blobs(rows=30)
    source = Source(InMemory(X.reshape(30, 1, 1, 6)), np.arange(30), y)
    gc.disable()
    try:
        dropped = weakref.ref(DropoutDense(epochs=1, units=1000).fit_batches(source).model_)
        DropoutDense(epochs=1, units=1000).fit_batches(source)
        assert dropped() is None
    finally:
        gc.enable()
