"""What README.md and docs/ show: commands, which of them run here and how, and the lines that they print.

Commands are the ```sh and ```python blocks of a page; a Python block that begins with `# NAME.py` is that file. Indented
blocks are what commands print. Comments on a page say how its test differs from it:

    <!-- before: COMMAND -->            run first, for a page that begins in the middle
    <!-- shortened: START: OPTIONS -->  options added to each command that begins so, where the real one takes weights
                                        that must be downloaded, or minutes
    <!-- replaced: OLD: NEW -->         NEW in the place of OLD
    <!-- not printed here: WORDS -->    lines with these words need the real images, and commands that are not altered
"""

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!-- (before|shortened|replaced|not printed here): (.*?) -->$", re.MULTILINE)

NOT_RUN = {
    "python3 -m venv": "installs; tests/test_packaging.py installs the package into an environment of its own",
    "pip install": "installs, for a GPU, a hub (tests/extract/backbones/test_hub.py has one) or an object store",
    "extract run data/ --device gpu": "needs a GPU; tests/extract/runtimes/test_device.py",
    "extract run photos/ --pooling avg --precision int8": "needs VNNI or AMX; tests/extract/test_int8.py runs it",
    "extract run s3://": "needs an object store; tests/end_to_end/test_object_store.py runs such commands",
    "apt-get download": "160 MB under another license; the test draws images with the same names",
    "import json\nfrom pathlib import Path\n\nimport timm": "timm's weights must be downloaded",
}
"""By its beginning: each block that is not run, and why."""


@dataclass(frozen=True)
class Page:
    """A page of the documentation."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def shown(self) -> list[str]:
        """The commands in order, one in an entry however many lines it takes."""
        return [command for block in self._blocks() for command in _commands(*block)]

    def run(self) -> list[str]:
        """The commands as they are run here."""
        added, replaced = self._pairs("shortened"), self._pairs("replaced")
        found = self._comments("before")
        for language, block in self._blocks():
            if any(block.startswith(start) for start in NOT_RUN):
                continue
            for command in _commands(language, block):
                quick = " ".join([command, *(options for start, options in added if command.startswith(start))])
                for old, new in replaced:
                    quick = quick.replace(old, new)
                found.append(quick)
        return found

    @property
    def altered(self) -> bool:
        """Whether the commands that are run differ from those on the page, as where weights are random."""
        return bool(self._comments("shortened") or self._comments("replaced"))

    def printed(self, real: bool) -> list[str]:
        """The lines that the commands print; those that are not printed here only where everything is as on the page."""
        absent = [] if real else self._comments("not printed here")
        lines = [line.strip() for line in _FENCED.sub("", self.text).splitlines() if line.startswith("    ")]
        return [line for line in lines if line != "…" and not any(words in line for words in absent)]

    def _blocks(self) -> list[tuple[str, str]]:
        return _BLOCK.findall(self.text)

    def _comments(self, kind: str) -> list[str]:
        return [value for name, value in _COMMENT.findall(self.text) if name == kind]

    def _pairs(self, kind: str) -> list[list[str]]:
        return [
            value.rsplit(": ", 1) if kind == "shortened" else value.split(": ", 1) for value in self._comments(kind)
        ]


def _commands(language: str, block: str) -> list[str]:
    if language == "python":
        file = re.match(r"# (\w+\.py)\n", block)
        return [shlex.join(["python", "-c", f"open({file[1]!r}, 'w').write({block!r})" if file else block])]
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    return [re.sub(r"\s+#.*", "", line) for line in lines if line.strip()]


PAGES = [
    page
    for page in map(Page, [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
    if page.path.name not in ("help.md", "store-format.md") and page.shown()
]
"""All pages with commands. docs/help.md is generated; tests/test_docs.py runs docs/store-format.md."""

RECIPES = [page for page in PAGES if page.path.parent.name == "recipes"]
