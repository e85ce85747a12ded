"""The values that options of this package can have. Nothing here imports a library, so that help stays quick."""

REDUCTIONS = ("avg", "max", "flatten")
WHOLE = "none"
"""The reduction of heads that take spatial tensors as they are."""

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = (CLASSIFICATION, REGRESSION)

CLASS_WEIGHTS = ("none", "balanced")
IGNORE = "ignore"
NEAR_TWINS = ("keep-together", IGNORE)

SWEEP_METHODS = ("grid", "random", "one", "optuna")
CHOOSING_METRICS = {
    CLASSIFICATION: ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"),
    REGRESSION: ("mean_absolute_error", "root_mean_squared_error", "r2", "spearman"),
}
"""The metrics that a sweep can choose by, of each task; the first is the default."""
LOWER_IS_BETTER = ("log_loss", "mean_absolute_error", "root_mean_squared_error")
