"""README.md and docs/: every command on the pages is run, in order, and prints what the page says it prints.

How a page's test differs from the page is in `tests/pages.py` and in comments on the page. Where images and weights are
the real ones (README.md: `extract sample`), numbers are compared too, within a tolerance; else the words of the lines.
`STAMPS=FOLDER` runs the recipes on the real images, which docs/recipes/README.md says how to get; those whose commands are
altered, to networks with random weights for example, have other numbers all the same.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.pages import NOT_RUN, PAGES, RECIPES, ROOT

NETWORKS = ROOT / "tests" / "data" / "networks"  # small random ones in the place of large ones
CLASSES = ("animals", "clothes", "food", "household", "plants", "seasonal", "symbols", "town", "vehicles")
IMAGES = 16
NAMED = ("birds/duck.png", "birds/pink_flamingo.png", "mammals/badger.png", "mammals/elephant.png")  # on the pages
STAMPS = os.environ.get("STAMPS")

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
TIMED = re.compile(r"\b(s|min|h|images/s|cores used)\b")


def write_stamps(folder):
    """Handwritten digits in colors under the names of other classes."""
    digits = load_digits()
    rng = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for place, at in enumerate(np.flatnonzero(digits.target == number)[:IMAGES]):
            grey = np.kron(digits.images[at] * 15, np.ones((6, 6)))
            color = np.clip(grey[..., None] * rng.uniform(0.5, 1, 3), 0, 255).astype(np.uint8)
            Image.fromarray(color).save(folder / name / f"{place:02d}.png")
    for number, name in enumerate(NAMED):
        (folder / "animals" / name).parent.mkdir(exist_ok=True)
        (folder / "animals" / f"{number:02d}.png").rename(folder / "animals" / name)


def options_of_commands():
    """What docs/help.md, which a test keeps current, lists for each command."""
    sections = re.split(r"^### ", (ROOT / "docs" / "help.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        section.partition("\n")[0]: set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", section)) for section in sections[1:]
    }


def words_of(line):
    """A printed line without numbers, names of files and classes, and gaps."""
    line = re.sub(r"\S*(?:[/\\]|\.\w*[a-z])\S*", " ", line)
    line = NUMBER.sub(" ", line)
    return [word for word in re.findall(r"[^\W\d_]+", line) if word not in CLASSES]


def numbers_of(line):
    return [float(number.replace(",", "")) for number in NUMBER.findall(line)]


def close(shown, printed):
    """Whether two lines have the same numbers, as far as another processor may change them."""
    a, b = numbers_of(shown), numbers_of(printed)
    return len(a) == len(b) and all(abs(x - y) <= 0.02 + 0.02 * abs(x) for x, y in zip(a, b, strict=True))


def is_as_shown(page, stamps):
    """Whether a recipe runs on the real images, in the folder `stamps`, and with the commands that the page has."""
    return stamps is not None and page in RECIPES and not page.altered


def stale_lines(shown, printed, exact):
    """The lines that a page shows and its commands do not print."""
    stale = []
    for line in shown:
        words = words_of(line)
        shown_part = len(words) if line.endswith("…") else None
        alike = [other for other in printed if words_of(other)[:shown_part] == words]
        if not alike or (exact and not TIMED.search(line) and not any(close(line, other) for other in alike)):
            stale.append(line)
    return stale


def test_a_stale_line_is_noticed():
    printed = ["accuracy       0.953 (0.926..0.970)  0.100", "computed 8 in 1.5 s, 5.3 images/s", "in heads/a: 3 files"]
    assert not stale_lines(
        ["accuracy  0.951 (0.926..0.970)  0.100", "computed 8 in 9.0 s, 0.9 images/s"], printed, True
    )
    assert stale_lines(["accuracy  0.853 (0.826..0.870)  0.100"], printed, True)
    assert not stale_lines(["computed 7 in 1.0 s, …"], printed, True)
    assert not stale_lines(["accuracy  0.853 (0.826..0.870)  0.100", "in heads/b.c: 5 files"], printed, False)
    assert stale_lines(["macro f1  0.953 (0.926..0.970)  0.100", "in heads/a: 3 images"], printed, False)


def test_a_recipe_with_random_weights_is_not_as_shown_on_the_real_images_either():
    shown = {page.path.stem for page in PAGES if is_as_shown(page, "stamps")}
    assert {"audit", "augmentation"} <= shown
    assert not shown & {"two-classes", "five-classes", "mobilenet", "dinov2-folder", "heads"}
    assert not any(is_as_shown(page, None) for page in PAGES)
    page = next(page for page in RECIPES if page.path.stem == "two-classes")
    lines = {real: "\n".join(page.printed(real)) for real in (True, False)}
    assert "near twins" in lines[True]
    assert "near twins" not in lines[False]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_have_the_options_that_they_name(page):
    known = options_of_commands()
    for command in page.shown():
        program, name, *words = shlex.split(command)
        if program in ("extract", "fit", "store"):
            given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert given <= known[f"{program} {name}"], command


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.stem)
def test_commands_are_in_blocks_that_are_run(page):
    outside = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    commands = "|".join(command.replace(" ", " +") for command in options_of_commands())
    assert not re.findall(rf"^    +(?:{commands}|pip install)\b.*", outside, re.MULTILINE)


def test_each_exception_is_still_on_a_page():
    text = "".join(page.text for page in PAGES)
    assert [start for start in NOT_RUN if start not in text] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run_and_print_what_it_shows(page, tmp_path):
    if page.name != "README.md":
        _lay_out(tmp_path)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    printed = []
    for command in page.run():
        ended = subprocess.run(
            ["bash", "-euc", command],
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "COLUMNS": "80"},
            capture_output=True,
            text=True,
        )
        print(f"$ {command}\n{ended.stdout}{ended.stderr}")
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
        printed += [line.strip() for line in (ended.stdout + ended.stderr).splitlines()]
    if page in RECIPES or page.name == "README.md":
        real = is_as_shown(page, STAMPS)
        assert stale_lines(page.printed(real), printed, exact=real or page.name == "README.md") == []


def _lay_out(folder):
    if STAMPS is not None:
        (folder / "stamps").symlink_to(Path(STAMPS).absolute())
    else:
        write_stamps(folder / "stamps")
    shutil.copytree(NETWORKS, folder / "networks")
