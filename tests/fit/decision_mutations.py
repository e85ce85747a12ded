"""Deliberate faults in how a head decides: thresholds, costs and abstention. See `tests/fit/mutations.py`."""

from tests.fit.mutations import EVALUATION, ROWS, Mutation

DECISION, TASK, THRESHOLDS = "fit/decision.py", "fit/task.py", "fit/thresholds.py"
CHOSEN = ("tests/fit/test_thresholds.py",)
DECIDED = ("tests/fit/test_decision.py",)

DECISION_MUTATIONS = (
    Mutation(
        "a recall is reached but for one image", THRESHOLDS, "of_class[needed - 1]", "of_class[needed - 2]", CHOSEN
    ),
    Mutation(
        "of equally good thresholds the first is chosen",
        THRESHOLDS,
        "thresholds[best[np.abs(thresholds[best] - DECISION).argmin()]]",
        "thresholds[best[0]]",
        CHOSEN,
    ),
    Mutation(
        "missed images are not wrong",
        THRESHOLDS,
        "predicted - found + marks.sum() - found",
        "predicted - found",
        CHOSEN,
    ),
    Mutation("costs are predicted x actual", TASK, "@ np.array(rule.costs))", "@ np.array(rule.costs).T)", DECIDED),
    Mutation(
        "a threshold is not predicted from, but above", TASK, ">= rule.thresholds[0]", "> rule.thresholds[0]", DECIDED
    ),
    Mutation(
        "a head abstains by the highest probability of any class",
        TASK,
        "probabilities[np.arange(len(probabilities)), self.decide(probabilities)]",
        "probabilities.max(axis=1)",
        DECIDED,
    ),
    Mutation(
        "the more frequent class is the positive one", DECISION, "0 if first < second", "0 if first > second", DECIDED
    ),
    Mutation(
        "scores forget the decision",
        EVALUATION,
        "probabilities, self.task.decide(probabilities))\n",
        "probabilities)\n",
        DECIDED,
    ),
    Mutation(
        "the accuracy of answers is that of all images",
        "fit/metrics/answered.py",
        "Clusters(int(answered.sum()), groups[answered])\n",
        "Clusters(len(answered), groups)\n    answered = answered | True\n",
        DECIDED,
    ),
    Mutation("the decision is lost in head.json", "fit/train.py", "decision=task.decision,", "", DECIDED),
    Mutation(
        "a confusion matrix is that of the most probable class",
        ROWS,
        "probabilities.argmax(axis=1) if predicted is None else predicted",
        "probabilities.argmax(axis=1)",
        DECIDED,
    ),
)
