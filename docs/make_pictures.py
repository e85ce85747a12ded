"""Writes docs/pictures/: what README's three first commands print, and pictures of the head that they fit.

    python -m docs.make_pictures

Everything comes from a real run in a temporary folder.
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

ROOT = Path(__file__).parent.parent
PICTURES = Path(__file__).with_name("pictures")
COLUMNS = 92
HEIGHT = 900  # pixels of each picture of a head


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


def draw_head(head: Path) -> None:
    """head.png: the confusion matrix and the most confident errors, side by side."""
    pictures = [Image.open(head / f"{name}.png").convert("RGB") for name in ("confusion", "mistakes")]
    scaled = [picture.resize((picture.width * HEIGHT // picture.height, HEIGHT)) for picture in pictures]
    sheet = Image.new("RGB", (sum(picture.width for picture in scaled), HEIGHT), "white")
    left = 0
    for picture in scaled:
        sheet.paste(picture, (left, 0))
        left += picture.width
    sheet.quantize(256).save(PICTURES / "head.png", optimize=True)


def main() -> None:
    """See the module."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        draw_terminal(first_commands(), Path(folder))
        run("fit report heads/logistic", Path(folder))
        draw_head(Path(folder) / "heads" / "logistic" / "report")


if __name__ == "__main__":
    main()
