"""Plain words: the private vocabulary that earlier versions had is gone from code, messages, help, docs and tests.

A reader searches for the words of the field. Each entry below is a word or a turn of phrase that nobody would search for,
as a precise pattern, and what is written instead.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("store", "extract", "fit", "tests", "benchmarks", "docs", "examples")
ENDINGS = {".py", ".md", ".toml", ".sh", ".sbatch", ".cron", ".yaml"}
LEFT_OUT = (
    "tests/test_words.py",
    "tests/data/",  # written by 0.5.0
)


@dataclass(frozen=True)
class Word:
    """A pattern that must not occur, what is written instead, and lines that may have it all the same."""

    pattern: str
    instead: str
    allowed: str = r"(?!)"


RATE = r"(class|core|shard|second|call|step|worker|machine|process|thread|batch|epoch|row|image|channel|GPU|tile|turn|label)"

WORDS = {
    # Names.
    "Telling": Word(
        r"\bTelling\b|\btelling\b|\btell_\w|\btold_\w|\b_tell\b|\btell\(|\btell[:=]|\.tell\b",
        "Reporter, reporter, format_x, report_x",
    ),
    "told": Word(r"\b(tell|tells|told)\b", "say, report, print, show"),
    "Wanted": Word(r"\bWanted\b|\bwanted\b", "NetworkSpec, spec, network; asked for, requested"),
    "Work": Word(
        r"\bclass Work\b|\bWork\(|\bimport Work\b|\bcarry_out\b|\b[Cc]arr(y|ied|ies|ying) out\b",
        "ShardWorker, run_shards",
    ),
    "Collection": Word(r"\bclass Collection\b|\bCollection\(", "ShardBuilder, builder"),
    "Share": Word(r"\bclass Share\b|\bShare\(|\bshares? in\b", "ShardImages"),
    "Place": Word(r"\bclass Place\b|\bPlace\(", "ShardRows"),
    "holder": Word(r"\bholders?\b|\bHELD\b|\bheld\b(?! out|$)", "shard_keys, committed_images, COMMITTED"),
    "View": Word(
        r"\bclass View\b|\bView\(|\bimport View\b|\bView\.from_bytes|snapshot\.view\b", "CurrentPlan, snapshot.current"
    ),
    "shard_rows": Word(
        r"\bshard_rows\b",
        "images_per_shard",
        # RunOptions.shard_rows is the option --shard-rows; the metadata key of a plan is what 0.1.0 called it.
        r"options\.shard_rows|stillframe\.shard_rows|\bshard_rows=|extract/(request|commands)\.py|tests/extract/",
    ),
    "Usage": Word(
        r"\bUsage\(|\bclass Usage\b|\bimport\b.*\bUsage\b|\b[Vv]erdicts?\b",
        "ResourceUse, bottleneck",
        r'"verdict":',  # a JSON key of a dry run
    ),
    "deadly": Word(r"\b[Dd]eadly\b|find_deadly|\b[Ee]xamin\w+", "find_crashing_images, crash_search"),
    "touched": Word(r"\b[Tt]ouched\b", "changed files, a file with another modification time"),
    "upkeep": Word(r"\b[Uu]pkeep\b", "maintenance"),
    "form": Word(r"\bform = |\bform\.|\(form\b|, form\b|\bform: ", "format, shard_format"),
    "Try": Word(r"\bclass Try\b|\bTry\(|manieth", "Attempt"),
    "units": Word(r"\bUnits\b|\bfind_units\b|\b_units\b|\bunits of (splits|a split)", "SplitGroups, split_groups"),
    "judged": Word(r"\b[Jj]udge[sd]?\b|\b[Jj]udging\b|\bTruth\b", "Evaluated, GroundTruth, evaluate"),
    "several": Word(
        r"\bseveral(: bool|=|\b = |\))|\bseveral,$|\.several\b|\bnot several\b|\bif several( else|:|$)",
        "multi_label",
        r"\"several\"|'several'|`several`",
    ),
    "own": Word(
        r"\bown: (Callable|str|object)|\bown=|, own[,)]|\bOwn(Head|Network)?\b|\brequire_own\b"
        r"|\bheads? of (one's|your|their|my) own\b|\bone of your own\b",
        "custom_head, CustomNetwork",
    ),
    # Turns of phrase.
    "surest": Word(r"\bsurest\b", "most confident errors first"),
    "on the test": Word(
        r"on the test once|tells? the test|\blooked at once\b|look at the test", "evaluated on the test set once"
    ),
    "what it saw": Word(r"\bwhat it saw\b|\bwhat a network saw\b", "store its features"),
    "worth": Word(r"\b(is|are|each) worth\b", "benchmark results", r"worth having|worth it"),
    "what computes": Word(r"\bwhat computes\b|\bwhatever computes\b", "which runtime"),
    "images a class": Word(
        rf"\b(images?|rows?|threads?|shards?|tasks?|columns?|process|processes|bytes|seconds|kB|MB|GB|ms|one|two|four|five|fifteen|slope|entry|label|file|views?|numbers?|folder|lines?|labels|probability) an? {RATE}\b",
        "images per class, per core, per shard",
    ),
    "to be seen": Word(r"\bto be (seen|had|told)\b", "visible, available"),
    "as ever": Word(r"\bas ever\b", "as before"),
    "so many": Word(r"\b[Ss]o many\b|\bhow many there are\b|\bso and so many\b", "a number, the number of"),
    "is said": Word(r"\b(is|are|be|was) said\b|\bsaid so\b", "is reported, is printed, must be given"),
    "mend": Word(r"\b[Mm]end(s|ed|ing)?\b", "fix, repair"),
    "taken back": Word(r"\b([Tt]ake|[Tt]akes|[Tt]aken|[Tt]ook|[Tt]aking) (\w+ ){0,3}back\b", "withdraw"),
    "with us": Word(r"\bwith(out)? us\b", "with Stillframe"),
    "in hand": Word(r"\bin hand\b", "in progress"),
    "is no": Word(
        r"(?<![Tt]here )(?<!there )\b(is|are|was) no (?!longer|more|less|need|reason|way|matter)\w",
        "is not a",
    ),
    "is none": Word(r"\b(it|they) (is|are) none\b", "it is not one"),
    "anew": Word(r"\banew\b", "again"),
    "under way": Word(r"\b[Uu]nder way\b", "in progress"),
    "stands": Word(r"\bstands? (beside|in|on|at)\b", "is beside, is in"),
    "whoever": Word(r"\b[Ww]hoever\b|\bwhoever's\b", "anyone who, the process that"),
    "came to": Word(r"\bcame to\b|\b(has|have) come to\b", "result, outcome"),
    "go on": Word(
        r"\b(go|goes|went) on (where|from|as|to)\b|\bto go on\b|\b(command|call|run|night) goes on\b", "continue"
    ),
    "rooms": Word(r"\b(each|every|this|other|all|three|the) rooms?\b|\bROOMS\b", "package", r"/shared/|make room"),
    "its like": Word(r"\b(the|its) like\b", "and similar"),
}


def texts():
    """Each file that people read or run, with its path below the root."""
    found = [path for path in ROOT.iterdir() if path.suffix in ENDINGS or path.name == "Makefile"]
    for folder in FOLDERS:
        found += [path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in ENDINGS]
    for path in found:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(LEFT_OUT) and "__pycache__" not in name:
            yield name, path.read_text(encoding="utf-8")


TEXTS = dict(texts())


def occurrences(word):
    """Where a word occurs: `file:line: text`."""
    pattern, allowed = re.compile(word.pattern), re.compile(word.allowed)
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in TEXTS.items()
        for number, line in lines_and_breaks(text)
        if pattern.search(line) and not allowed.search(f"{name} {line}")
    ]


def lines_and_breaks(text):
    """Each line with its number, and the end of a line of prose with the beginning of the next, for phrases that wrap."""
    lines = text.splitlines()
    yield from enumerate(lines, 1)
    for number, (line, after) in enumerate(itertools.pairwise(lines), 1):
        last, first = line.strip(" #").split()[-3:], after.strip(" #").split()[:2]
        if last and first and all(re.fullmatch(r"[A-Za-z-]+,?", word) for word in (last[-1], first[0])):
            yield number, " ".join(last + first)


def test_all_texts_are_read():
    assert {"README.md", "Makefile", "cli.py", "docs/help.md", "store/plan.py", "tests/test_docs.py"} <= set(TEXTS)


@pytest.mark.parametrize("name", WORDS)
def test_a_word_is_gone(name):
    assert occurrences(WORDS[name]) == [], f"write {WORDS[name].instead}"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Telling", "def run(options: RunOptions, telling: Telling = Telling())"),
        ("shard_rows", "plan.shard_rows"),
        ("several", "if labels.several:"),
        ("images a class", "with fifteen images a class"),
        ("judged", "is judged by view 0 alone"),
        ("rooms", "each room's commands.py"),
    ],
)
def test_a_pattern_finds_what_it_is_for(name, line):
    assert re.search(WORDS[name].pattern, line)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Collection", "from collections.abc import Collection"),
        ("shard_rows", 'metadata["stillframe.shard_rows"]'),
        ("several", '"several": self.multi_label,'),
        ("Usage", "raise UsageError(message)"),
    ],
)
def test_a_pattern_leaves_what_stays(name, line):
    word = WORDS[name]
    assert not re.search(word.pattern, line) or re.search(word.allowed, line)
