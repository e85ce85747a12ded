"""Heads that are put together from scikit-learn's estimators: a function for each, of the head's parameters.

The table of heads names these functions and describes what they make.
"""

from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC

from fit.heads.neighbors import NearestMean, SimilarNeighbors
from fit.heads.sklearn import MAX_ITERATIONS, Calibrated, Rounded


def linear_svm(c: float, class_weight: str | None, random_state: int) -> Calibrated:
    """See the table."""
    machine = LinearSVC(C=c, class_weight=class_weight, random_state=random_state, max_iter=MAX_ITERATIONS)
    return Calibrated(machine, random_state=random_state, calibration_weight=class_weight)


def nearest_centroid(random_state: int) -> Calibrated:
    """See the table."""
    centroid = make_pipeline(Normalizer(), NearestMean())
    return Calibrated(centroid, method="temperature", random_state=random_state)


def nearest_neighbors(neighbors: int, temperature: float, random_state: int) -> SimilarNeighbors:  # noqa: ARG001
    """See the table; nothing is drawn."""
    return SimilarNeighbors(neighbors, temperature)


def forest(trees: int, min_leaf: int, class_weight: str | None, random_state: int) -> Pipeline:
    """See the table. One thread: more would add the trees' votes in an order that changes their last bits."""
    classifier = RandomForestClassifier(
        trees, min_samples_leaf=min_leaf, class_weight=class_weight, random_state=random_state, n_jobs=1
    )
    return make_pipeline(Rounded(), classifier)


def boosting(
    rounds: int, learning_rate: float, leaves: int, features: float, class_weight: str | None, random_state: int
) -> Pipeline:
    """See the table."""
    booster = HistGradientBoostingClassifier(class_weight=class_weight, random_state=random_state)
    return boosted(booster, rounds, learning_rate, leaves, features)


def boosted(
    booster: HistGradientBoostingClassifier | HistGradientBoostingRegressor,
    rounds: int,
    learning_rate: float,
    leaves: int,
    features: float,
) -> Pipeline:
    """Gradient boosting with these settings, of classes or of numbers."""
    booster.set_params(
        max_iter=rounds,
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        max_features=features,
        min_samples_leaf=10,
        early_stopping=False,
    )
    return make_pipeline(Rounded(), booster)


def perceptron(units: int, alpha: float, epochs: int, random_state: int) -> Pipeline:
    """See the table."""
    network = MLPClassifier((units,), alpha=alpha, max_iter=epochs, random_state=random_state)
    return make_pipeline(StandardScaler(), network)
