"""A sweep's folder: what its trials have in common, and a JSON file for each trial.

sweep.json               what all trials have in common: head, store, split, metric, …
trials/<hash>.json       one trial; the name is a hash of the head's parameters
sweep.csv, sweep.png     all trials as a table and as a picture, rewritten at the end
best/                    the head with the chosen parameters
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, cast

from fit.heads.parameters import Value
from fit.metrics.intervals import Interval
from fit.metrics.regression import REGRESSION_METRICS
from fit.metrics.scores import METRICS, read_intervals
from store.errors import EnvironmentFailure, UsageError
from store.files.local import write_whole
from store.files.names import printable

STUDY, TRIALS, BEST = "sweep.json", "trials", "best"
CSV, PICTURE = "sweep.csv", "sweep.png"
_KEY_LENGTH = 16


@dataclass(frozen=True)
class Trial:
    """One fit of a sweep.

    Attributes:
        number: from 0, in the order in which the trials were run.
        parameters: all of the head's.
        scores: on validation, by metric (METRICS, or REGRESSION_METRICS); None where the head refused the parameters.
        seconds: what fitting and scoring took.
        refused: why the head refused, or "".
        source: the digest of a custom head's code, or "".
    """

    number: int
    parameters: Mapping[str, Value]
    scores: Mapping[str, Interval] | None
    seconds: float
    refused: str = ""
    source: str = ""

    def interval(self, metric: str) -> Interval | None:
        """Its score by a metric, if it has one."""
        return self.scores[metric] if self.scores is not None else None

    def score(self, metric: str) -> float | None:
        """The value of `interval`."""
        interval = self.interval(metric)
        return interval.value if interval is not None else None

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The trial that `to_dict` wrote.

        Raises:
            KeyError: a field or a metric is missing.
            TypeError: a field is missing, unknown, or of another type.
        """
        stored = cast(Mapping[str, Any], values)
        return cls(**{**stored, "scores": stored["scores"] and _read_scores(stored["scores"])})


def _read_scores(stored: Mapping[str, Any]) -> dict[str, Interval]:
    """The scores of a trial, of numbers or of classes."""
    names = REGRESSION_METRICS if REGRESSION_METRICS[0] in stored else METRICS
    return read_intervals(stored, names)


def trial_key(parameters: Mapping[str, Value], source: str = "") -> str:
    """The name of a trial's file: the first 16 digits of a SHA-256, of its parameters as sorted, compact JSON and, of a
    custom head, of the digest of its code.
    """
    canonical = json.dumps(parameters, sort_keys=True, separators=(",", ":")) + source
    return hashlib.sha256(canonical.encode()).hexdigest()[:_KEY_LENGTH]


class TrialFolder:
    """The folder of a sweep, with its `trials` by key in the order in which they were run.

    Trials of a custom head whose code was another are passed over.

    Args:
        root: the folder; a new one gets its study written at once.
        study: what all trials have in common, plain JSON values.
        source: the digest of a custom head's code, or "".

    Raises:
        UsageError: it is the folder of another study, or of something else, or a file of it is damaged.
        EnvironmentFailure: it cannot be read or written.
    """

    def __init__(self, root: Path, study: Mapping[str, object], source: str = "") -> None:
        self.root = root
        stored = _read(root / STUDY)
        if stored is None:
            if root.exists() and (not root.is_dir() or any(root.iterdir())):
                raise UsageError(f"{root} exists and is not the folder of a sweep: choose another --out")
            write_whole(root / STUDY, _encoded(study))
        else:
            _require_same_study(root, stored, study)
        self.trials = {key: trial for key, trial in _read_trials(root / TRIALS).items() if trial.source == source}

    def add(self, trial: Trial) -> None:
        """Write a trial to its file, named by its key, and add it to `trials`."""
        key = trial_key(trial.parameters, trial.source)
        write_whole(self.root / TRIALS / f"{key}.json", _encoded(trial.to_dict()))
        self.trials[key] = trial


def _require_same_study(root: Path, stored: Mapping[str, object], study: Mapping[str, object]) -> None:
    differences = [
        f"{name} was {_short(stored.get(name))}, is {_short(study.get(name))}"
        for name in {**stored, **study}
        if stored.get(name) != study.get(name)
    ]
    if differences:
        raise UsageError(f"{root} holds trials of another sweep; {'; '.join(differences)}: choose another --out")


def _read_trials(folder: Path) -> dict[str, Trial]:
    """Trials by key, in the order in which they were run."""
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            found.append((file.stem, Trial.from_dict(_read(file) or {})))
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"{file} has a missing or invalid field ({error}): delete it, then run the same command again"
            ) from error
    return dict(sorted(found, key=lambda pair: pair[1].number))


def _encoded(values: Mapping[str, object]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()


def _read(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is no such file."""
    try:
        values = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON ({error}): delete it, then run the same command again") from error
    except OSError as error:
        raise EnvironmentFailure(f"cannot read {path}: {error.strerror or error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds {type(values).__name__}, expected an object: delete it, then run again")
    return values


def _short(value: object) -> str:
    """A value in a message; of a hash, its beginning."""
    text = printable(str(value))
    return f"{text[:12]}…" if len(text) == 64 else text
