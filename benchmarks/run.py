"""`make bench`: every benchmark, one after the other; each writes its own part of benchmarks/RESULTS.md.

    python -m benchmarks.run [SECTION ...]

Without a section, all of them: hours, most of which are speed's. With sections, only those parts are replaced.
"""

import argparse
import subprocess

from benchmarks import epochs, growth, speed, storage
from benchmarks.measure import ROOT, circumstances, module, say, scratch, write_section

PLANNING_TITLE = "Planning"


def planning() -> None:
    """The table that benchmarks.planning prints."""
    with scratch() as folder:
        told = subprocess.run(
            module("planning", folder), stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
        ).stdout
    explained = "Empty files, listed, planned and committed with a stub in place of decoding and the network."
    write_section(PLANNING_TITLE, [circumstances(), "", explained, "", *told.splitlines()])


SECTIONS = {
    "growth": growth.main,
    "planning": planning,
    "storage": lambda: storage.main([]),
    "epochs": lambda: epochs.main([]),
    "speed": lambda: speed.main([]),
}


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.partition("\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; without: all")
    chosen = parser.parse_args().sections
    for name in chosen:
        if name not in SECTIONS:
            parser.error(f"there is no section {name}: choose of {', '.join(SECTIONS)}")
    for name in chosen or SECTIONS:
        say(f"benchmark: {name}")
        SECTIONS[name]()


if __name__ == "__main__":
    main()
