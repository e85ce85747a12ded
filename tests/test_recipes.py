"""README.md and docs/recipes/: every command on the pages is run, in order, and every option on them exists.

A page's commands are its ```sh and ```python blocks. A comment `<!-- shortened: extract run: --weights random -->` on
the page adds options to each command that begins so, where the real one takes weights that must be downloaded, or
minutes; `<!-- replaced: A: B -->` puts B for A.
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

ROOT = Path(__file__).parent.parent
RECIPES = sorted(page for page in (ROOT / "docs" / "recipes").glob("*.md") if page.name != "README.md")
PAGES = [ROOT / "README.md", *RECIPES]
NETWORKS = ROOT / "tests" / "data" / "networks"  # small random ones in the place of large ones
CLASSES = ("animals", "clothes", "food", "household", "plants", "seasonal", "symbols", "town", "vehicles")
IMAGES = 16
NAMED = ("birds/duck.png", "birds/pink_flamingo.png", "mammals/badger.png", "mammals/elephant.png")  # on the pages

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORTENED = re.compile(r"^<!-- shortened: (.*?): (.*?) -->$", re.MULTILINE)
REPLACED = re.compile(r"^<!-- replaced: (.*?): (.*?) -->$", re.MULTILINE)


def commands(page):
    """The page's commands in order, one in a list entry however many lines it takes; a Python block is one command."""
    found = []
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            found.append(shlex.join(["python", "-c", block]))
        else:
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            found += [re.sub(r"\s+#.*", "", line) for line in lines if line.strip()]
    return found


def shortened(page):
    """The page's commands with the options that make them quick."""
    text = page.read_text(encoding="utf-8")
    added, replaced = SHORTENED.findall(text), REPLACED.findall(text)
    found = []
    for command in commands(page):
        words = [command, *(options for start, options in added if command.startswith(start))]
        quick = " ".join(words)
        for old, new in replaced:
            quick = quick.replace(old, new)
        found.append(quick)
    return found


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_have_the_options_that_they_name(page):
    known = options_of_commands()
    assert commands(page)
    for command in shortened(page):
        program, name, *words = shlex.split(command)
        if program == "python":
            continue
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known[f"{program} {name}"], command


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page, tmp_path):
    if page in RECIPES:
        write_stamps(tmp_path / "stamps")
        shutil.copytree(NETWORKS, tmp_path / "networks")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in shortened(page):
        ended = subprocess.run(
            ["bash", "-euc", command],
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        print(f"$ {command}\n{ended.stdout}{ended.stderr}")
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
