"""A sweep's folder: which study it is of, and the trials that are done, a JSON file each.

sweep.json               what all trials have in common: head, store, split, metric, …
trials/<hash>.json       one trial, named by the hash of the head's parameters
sweep.csv, sweep.png     all trials as a table and as a picture, written anew at the end
best/                    the head with the chosen parameters
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fit.heads.table import Value
from fit.metrics.scores import METRICS, Interval
from store.errors import EnvironmentFailure, UsageError
from store.files.local import write_whole
from store.files.names import printable

STUDY, TRIALS, BEST = "sweep.json", "trials", "best"
_KEY_LENGTH = 16


@dataclass(frozen=True)
class Trial:
    """One fit of a sweep.

    `number` counts from 0 in the order in which they were done. `parameters` are all of the head's. `scores` are those
    of the validation by metric (METRICS); None where the head refused the parameters, and `refused` says why.
    """

    number: int
    parameters: Mapping[str, Value]
    scores: Mapping[str, Interval] | None
    seconds: float
    refused: str = ""

    def interval(self, metric: str) -> Interval | None:
        """Its score by a metric, if it has one."""
        return self.scores[metric] if self.scores is not None else None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Trial":
        """What `to_dict` wrote."""
        scores = values["scores"]
        return cls(
            **{
                **values,
                "scores": scores and {name: Interval(**scores[name]) for name in METRICS},
            }
        )


def trial_key(parameters: Mapping[str, Value]) -> str:
    """The name of a trial's file: the beginning of the SHA-256 of its parameters' canonical JSON."""
    canonical = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_KEY_LENGTH]


class TrialFolder:
    """The folder of a sweep. `study` is what its trials have in common, plain JSON values.

    Raises:
        UsageError: it is the folder of another study, or of something else.
    """

    def __init__(self, root: Path, study: Mapping[str, Any]) -> None:
        self.root = root
        stored = _read(root / STUDY)
        if stored is None:
            if root.exists() and (not root.is_dir() or any(root.iterdir())):
                raise UsageError(f"{root} exists and is no sweep's folder: choose another --out")
            write_whole(root / STUDY, _encoded(study))
        elif stored != study:
            lines = [
                f"{name} was {_shown(stored.get(name))}, is {_shown(study.get(name))}"
                for name in {**stored, **study}
                if stored.get(name) != study.get(name)
            ]
            raise UsageError(f"{root} holds trials of another sweep; {'; '.join(lines)}: choose another --out")
        self.trials = self._done()

    def _done(self) -> dict[str, Trial]:
        """By key, in the order in which they were done."""
        files = sorted((self.root / TRIALS).glob("*.json"))
        found = []
        for file in files:
            try:
                found.append((file.stem, Trial.from_dict(_read(file) or {})))
            except (KeyError, TypeError) as error:
                raise UsageError(
                    f"{file} lacks or misspells a field ({error}): delete it, then run the same command again"
                ) from error
        return dict(sorted(found, key=lambda pair: pair[1].number))

    def keep(self, trial: Trial) -> None:
        """Write a trial down."""
        key = trial_key(trial.parameters)
        write_whole(self.root / TRIALS / f"{key}.json", _encoded(trial.to_dict()))
        self.trials[key] = trial


def _encoded(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON file's values; None if it is not there."""
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


def _shown(value: object) -> str:
    text = printable(str(value))
    return f"{text[:12]}…" if len(text) == 64 else text
