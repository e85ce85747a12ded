"""`make bench`: all benchmarks, one after the other; each writes its own section of benchmarks/RESULTS.md.

    python -m benchmarks.run [SECTION ...]

Without arguments all sections are measured, which takes hours, mostly for speed. Otherwise only those named are replaced.
"""

import argparse
import subprocess

from benchmarks import epochs, growth, short_runs, speed, storage, together
from benchmarks.measure import ROOT, circumstances, module, say, scratch, write_section

PLANNING_TITLE = "Planning"


def planning() -> None:
    """Write the table that benchmarks.planning prints."""
    with scratch() as folder:
        printed = subprocess.run(
            module("planning", folder), stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
        ).stdout
    explanation = "Empty files, listed, planned and committed, with stubs for decoding and the network."
    write_section(PLANNING_TITLE, [circumstances(), "", explanation, "", *printed.splitlines()])


SECTIONS = {
    "growth": growth.main,
    "planning": planning,
    "storage": lambda: storage.main([]),
    "together": lambda: together.main([]),
    "short_runs": lambda: short_runs.main([]),
    "epochs": lambda: epochs.main([]),
    "speed": lambda: speed.main([]),
}


def main() -> None:
    """Run the sections named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.partition("\n")[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"one of {', '.join(SECTIONS)}; default: all")
    chosen = parser.parse_args().sections
    for name in chosen:
        if name not in SECTIONS:
            parser.error(f"there is no section {name}: choose from {', '.join(SECTIONS)}")
    for name in chosen or SECTIONS:
        say(f"benchmark: {name}")
        SECTIONS[name]()


if __name__ == "__main__":
    main()
