"""Writes docs/pictures/: what README's three first commands print, and the report of the head that they fit.

    python -m docs.make_pictures

Everything comes from a real run in a temporary folder. The report is photographed in Chromium, which must be installed.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

from tests.browser import Browser

ROOT = Path(__file__).parent.parent
PICTURES = Path(__file__).with_name("pictures")
COLUMNS = 92
WIDTH, HEIGHT, SCALE = 1180, 1170, 1.5
"""Of the window that shows the report, in CSS pixels."""


def first_commands() -> list[str]:
    """The first block of commands in README.md."""
    (block,) = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)[:1]
    return [re.sub(r"\s+#.*", "", line) for line in block.splitlines()]


def run(command: str, folder: Path) -> str:
    """What a command prints, to people and to programs."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": str(COLUMNS)}
    ended = subprocess.run(  # noqa: S603  the commands of our own page
        ["/bin/bash", "-euc", f"{command} 2>&1"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return ended.stdout


def draw_terminal(commands: list[str], folder: Path) -> None:
    """terminal.svg."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere)
        for command in commands:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            console.print(Text(re.sub(r"^\d\d:\d\d:\d\d .*\n", "", run(command, folder), flags=re.MULTILINE)))
        console.save_svg(str(PICTURES / "terminal.svg"), title="three commands")


def draw_report(report: Path, folder: Path) -> None:
    """report-light.png and report-dark.png: the numbers, the confusion matrix and the images of its largest mistake."""
    browser = Browser(folder / "profile")
    try:
        for theme in ("light", "dark"):
            browser.open(report, WIDTH, theme == "dark", HEIGHT, SCALE)
            browser.run("document.querySelector('details.all').open = false")
            browser.run(
                "[...document.querySelectorAll('td[class^=miss] button')]"
                ".sort((a, b) => b.dataset.images - a.dataset.images)[0].id = 'largest'"
            )
            browser.click("#largest")
            browser.run("document.documentElement.style.scrollBehavior = 'auto', scrollTo(0, 0)")
            browser.run("Promise.all([...document.images].map((image) => image.decode()))")
            file = PICTURES / f"report-{theme}.png"
            browser.screenshot(file)
            Image.open(file).convert("RGB").quantize(256).save(file, optimize=True)
    finally:
        browser.close()


def main() -> None:
    """See the module."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        draw_terminal(first_commands(), Path(folder))
        draw_report(Path(folder) / "heads" / "logistic" / "report.html", Path(folder))


if __name__ == "__main__":
    main()
