"""Deliberate faults in `fit`, each of which the tests must notice: `tests/fit/test_mutations.py` applies them.

Add a fault as a `Mutation`: a file, a piece of its text that occurs once, what it becomes, and the tests that must fail.
"""

from dataclasses import dataclass

INTERVALS, PAIRED = "fit/metrics/intervals.py", "fit/metrics/paired.py"
ESTIMATES, RANKING = "fit/metrics/estimates.py", "fit/metrics/ranking.py"
ROWS, SCORES = "fit/metrics/measured_rows.py", "fit/metrics/scores.py"
CALIBRATION, FOLDS = "fit/metrics/calibration.py", "fit/metrics/folds.py"
COMPARE, EVALUATION, TEXT = "fit/compare/heads.py", "fit/evaluation.py", "fit/text.py"


def tests_of(module: str) -> str:
    """The tests of a module of `fit/metrics`."""
    return f"tests/fit/metrics/test_{module}.py"


@dataclass(frozen=True)
class Mutation:
    """A fault.

    Attributes:
        fault: what is wrong, in words.
        file: relative to the root.
        old: a text that occurs once in the file.
        new: what it is replaced by.
        tests: files, or tests in them (`file::test`), of which one or more must fail.
    """

    fault: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "groups are ignored: every image counts by itself",
        INTERVALS,
        "np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]",
        "np.arange(rows)",
        (tests_of("intervals"),),
    ),
    Mutation(
        "two groups are enough for an interval",
        INTERVALS,
        "if self.count < least:",
        "if self.count < 2:",
        (tests_of("intervals"),),
    ),
    Mutation(
        "a group that has nearly all images is as good as others",
        INTERVALS,
        "if clusters.effective < LEAST_EFFECTIVE_GROUPS:",
        "if clusters.count < LEAST_EFFECTIVE_GROUPS:",
        (tests_of("intervals"),),
    ),
    Mutation(
        "large groups that are all right have an interval",
        INTERVALS,
        "LEAST_MIXED_GROUPS, LARGE_GROUP = 6, 20",
        "LEAST_MIXED_GROUPS, LARGE_GROUP = 0, 20",
        (tests_of("intervals"),),
    ),
    Mutation(
        "images of groups that are all right count as independent",
        INTERVALS,
        "return wilson_interval(share, clusters.effective)",
        "return wilson_interval(share, rows)",
        (tests_of("intervals"),),
    ),
    Mutation(
        "the normal quantile instead of that of t",
        INTERVALS,
        "return float(stdtrit(self.freedom, _TAIL))",
        "return NORMAL",
        (tests_of("intervals"),),
    ),
    Mutation(
        "the degrees of freedom forget unequal sizes",
        INTERVALS,
        "min(clusters.effective - 1, 2 * count",
        "min(count - 1, 2 * count",
        (tests_of("intervals"),),
    ),
    Mutation(
        "the degrees of freedom forget that few groups vary",
        INTERVALS,
        "2 * count / max(kurtosis - 1, 1e-9)",
        "count",
        (tests_of("intervals"),),
    ),
    Mutation(
        "the variance lacks the correction for a group's share",
        INTERVALS,
        "clusters.sums(influence) / (1 - clusters.sizes / clusters.rows)",
        "clusters.sums(influence)",
        (tests_of("intervals"),),
    ),
    Mutation(
        "Wilson's middle is the share itself",
        INTERVALS,
        "middle = share + quantile**2 / (2 * count)",
        "middle = share * (1 + quantile**2 / count)",
        (tests_of("intervals"),),
    ),
    Mutation(
        "the ends of a studentized interval are exchanged",
        INTERVALS,
        "return float(high), float(-low)",
        "return float(-low), float(high)",
        (tests_of("intervals"),),
    ),
    Mutation(
        "the log loss is that of the predicted class",
        ROWS,
        "return _log_loss(self._of_truth)",
        "return _log_loss(self.probabilities.max(axis=1))",
        (tests_of("scores"),),
    ),
    Mutation(
        "the Brier score of two classes counts both",
        ROWS,
        "return summed / 2 if len(self._classes) == 2 else summed",
        "return summed",
        (tests_of("scores"),),
    ),
    Mutation(
        "top 5 is top 6",
        ROWS,
        "return share_of((before | ties).sum(axis=1) < TOP)",
        "return share_of((before | ties).sum(axis=1) <= TOP)",
        (tests_of("scores"),),
    ),
    Mutation(
        "two classes are ranked by the first",
        ROWS,
        "return [1] if len(self._classes) == 2",
        "return [0] if len(self._classes) == 2",
        (tests_of("scores"),),
    ),
    Mutation(
        "a label is predicted from 0.6 on",
        ROWS,
        "probabilities >= 0.5 if predicted is None",
        "probabilities >= 0.6 if predicted is None",
        (tests_of("scores"),),
    ),
    Mutation(
        "the balanced accuracy of labels forgets specificity",
        ROWS,
        'labels.append(average(sides, self.rows, ""))',
        "labels.append(sides[0])",
        (tests_of("scores"),),
    ),
    Mutation(
        "an undefined class counts as 0 in an average",
        ESTIMATES,
        "        if estimate.defined:\n            self._value += estimate.value\n",
        "        if not estimate.defined:\n            self._count += 1\n        else:\n            self._value += estimate.value\n",
        (tests_of("scores"),),
    ),
    Mutation(
        "the influence on kappa forgets chance",
        ESTIMATES,
        "(1 - observed) / (1 - expected) ** 2 * by_chance",
        "0 * by_chance",
        (tests_of("estimates"),),
    ),
    Mutation(
        "the influence on a recall is spread over all rows",
        ESTIMATES,
        "(marked - share * among) / count",
        "(marked - share) / count",
        (tests_of("estimates"),),
    ),
    Mutation(
        "ties count whole in the ROC AUC",
        RANKING,
        "np.cumsum(per_tie) - per_tie / 2",
        "np.cumsum(per_tie)",
        (tests_of("ranking"),),
    ),
    Mutation(
        "ties do not share their precision",
        RANKING,
        "first[1:] = ordered[1:] != ordered[:-1]",
        "first[1:] = True",
        (tests_of("ranking"),),
    ),
    Mutation(
        "the calibration error keeps the noise",
        CALIBRATION,
        "squared = mean_gaps**2 - noise / decisions**2",
        "squared = mean_gaps**2 - 0 * noise / decisions**2",
        (tests_of("calibration"),),
    ),
    Mutation(
        "the calibration's noise is that of images, not of groups",
        CALIBRATION,
        "np.repeat(clusters.of_rows, per_row)",
        "np.repeat(np.arange(clusters.rows) % clusters.count, per_row)",
        (tests_of("calibration"),),
    ),
    Mutation(
        "classes without a row are not named",
        SCORES,
        "missing=tuple(name for name, count in zip(classes, counts, strict=True) if count == 0)",
        "missing=()",
        (tests_of("scores"),),
    ),
    Mutation(
        "a class of few images has an interval of the averages over classes",
        SCORES,
        '    if fewest >= least:\n        return ""\n',
        '    if fewest >= 0:\n        return ""\n',
        (tests_of("scores"),),
    ),
    Mutation(
        "another metric's interval",
        SCORES,
        "interval_of(estimate, clusters, requirement)",
        'interval_of(measured.estimates()["accuracy"], clusters, requirement)',
        (tests_of("scores"),),
    ),
    Mutation(
        "McNemar's test has one side",
        PAIRED,
        "2 * bdtr(min(first_only, second_only)",
        "bdtr(min(first_only, second_only)",
        (tests_of("paired"),),
    ),
    Mutation(
        "differences of groups are compared image by image",
        PAIRED,
        "scaled = counts.divided(max(enlarged, 1.0))",
        "scaled = counts",
        (tests_of("paired"),),
    ),
    Mutation(
        "the difference has the wrong sign",
        PAIRED,
        "return (self.first - self.second) / self.rows",
        "return (self.second - self.first) / self.rows",
        (tests_of("paired"),),
    ),
    Mutation(
        "Holm's correction is not monotonous",
        PAIRED,
        "largest = max(largest, min(1.0, value * (len(known) - place)))",
        "largest = min(1.0, value * (len(known) - place))",
        (tests_of("paired"),),
    ),
    Mutation(
        "the resampled t-test is not corrected",
        FOLDS,
        "(1 / count + test_share)",
        "(1 / count)",
        (tests_of("folds"),),
    ),
    Mutation(
        "other folds are compared as if they were the same",
        FOLDS,
        "if len(first) < 2 or described[0] != described[1]:",
        "if len(first) < 2 or len(first) != len(second):",
        (tests_of("folds"),),
    ),
    Mutation(
        "the best head is chosen by its test",
        COMPARE,
        'np.argmax([head.metrics[chosen_by]["accuracy"]["value"]',
        'np.argmax([head.metrics[TEST]["accuracy"]["value"]',
        ("tests/fit/compare/test_heads.py::test_the_best_is_chosen_by_validation_and_differences_are_the_tests",),
    ),
    Mutation(
        "compare forgets the split groups",
        "fit/evaluated.py",
        "return join_groups(known) if known else None",
        "return None",
        ("tests/fit/compare/test_heads.py::test_images_of_one_group_are_compared_together",),
    ),
    Mutation(
        "p-values of several heads are not corrected",
        COMPARE,
        "p_values = holm([found.p_value if found else None for found in paired])",
        "p_values = [found.p_value if found else None for found in paired]",
        ("tests/fit/compare/test_heads.py::test_p_values_of_several_heads_are_corrected",),
    ),
    Mutation(
        "images of another label are the same image",
        COMPARE,
        "list(zip(test.paths, test.labels, strict=True))",
        "list(zip(test.paths, tests[best].labels, strict=False))",
        ("tests/fit/compare/test_heads.py::test_images_of_another_label_are_not_the_same",),
    ),
    Mutation(
        "an evaluation's groups are not passed to its scores",
        EVALUATION,
        "Sampling(self.split_groups[images])",
        "Sampling()",
        ("tests/fit/test_evaluation.py::test_few_groups_of_images_give_no_interval_and_a_sentence",),
    ),
    Mutation(
        "four labels are taken for four classes",
        TEXT,
        'if metrics.get("multi_label", matrix.shape != (len(classes), len(classes))):',
        "if matrix.shape != (len(classes), len(classes)):",
        ("tests/fit/test_text.py::test_four_labels_are_not_four_classes",),
    ),
)
