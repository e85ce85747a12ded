"""Decode damaged images by the thousand, in a process whose memory is limited, and count what goes wrong.

python -m tests.attacks.fuzz --inputs 1000000 --seed 0

Each input follows from the seed and its number, so that one which crashes can be made again:
python -m tests.attacks.fuzz --seed 0 --first 4711 --inputs 1
"""

import argparse
import collections
import json
import os
import random
import resource
import select
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode, without_pillow_limits
from extract.images.png import SIGNATURE
from tests.attacks.corpus import corpus
from tests.attacks.limits import peak_megabytes

POLICY = DecodePolicy((8, 8), "bilinear", "stretch", (255, 255, 255), 1_000_000)
PATIENCE = 20.0
"""Seconds that one input may take."""

MEMORY = 512 * 2**20
"""Bytes that the process may take beyond what it has when it begins."""

_EVERY = 500  # inputs between two reports of a child
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


@dataclass
class Found:
    """What came of some inputs: how many had each outcome, and the numbers of those that went wrong."""

    outcomes: collections.Counter = field(default_factory=collections.Counter)
    crashes: dict[int, str] = field(default_factory=dict)
    hangs: list[int] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)
    peak: int = 0
    programs: bool = False
    messages: str = ""


def mutant(files, seed, number):
    """The damaged file of this number."""
    rng = random.Random(f"{seed}:{number}")
    data = bytearray(files[rng.choice(sorted(files))])
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        rng.choice((_bit, _byte, _number, _number, _cut, _repeat, _splice, _end))(data, rng, files)
        data = data or bytearray(b"\0")
    if data.startswith(SIGNATURE) and rng.random() < 0.8:
        data = _with_checksums(data)  # or hardly anything gets past them
    return bytes(data)


def _place(data, rng):
    # Half of them near the beginning: headers are short, and most of what there is to break.
    return rng.randrange(min(len(data), 200) if rng.random() < 0.5 else len(data))


def _bit(data, rng, _):
    data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _byte(data, rng, _):
    data[_place(data, rng)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _number(data, rng, _):
    number, size = rng.choice(_NUMBERS), rng.choice((2, 4))
    start = _place(data, rng)
    data[start : start + size] = (number % 256**size).to_bytes(size, rng.choice(("little", "big")))


def _cut(data, rng, _):
    start = _place(data, rng)
    del data[start : start + rng.choice((1, 2, 4, 16, 100))]


def _repeat(data, rng, _):
    start = _place(data, rng)
    data[start:start] = data[start : start + rng.choice((1, 2, 4, 16, 100))] * rng.choice((1, 2, 50))


def _splice(data, rng, files):
    other = files[rng.choice(sorted(files))]
    start, source = _place(data, rng), rng.randrange(len(other))
    length = rng.choice((4, 16, 100, len(other)))
    data[start : start + length] = other[source : source + length]


def _end(data, rng, _):
    del data[rng.randrange(len(data)) + 1 :]


def _with_checksums(data):
    fixed, offset = bytearray(SIGNATURE), len(SIGNATURE)
    while offset + 12 <= len(data):
        length = min(struct.unpack_from(">I", data, offset)[0], len(data) - offset - 12)
        body = data[offset + 4 : offset + 8 + length]
        fixed += struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
        offset += 12 + length
    return fixed


def fuzz(first, inputs, seed):
    """Decode inputs in processes, and start another one behind each input that ends or blocks its process."""
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder, "mark")
        for name in ("gs", "djpeg"):
            Path(folder, name).write_text(f"#!/bin/sh\necho {name} >> {mark}\n")
            Path(folder, name).chmod(0o755)
        current, end = first, first + inputs
        while current < end:
            current = _run_child(current, end, seed, folder, found)
        found.programs = mark.exists()
    return found


def _run_child(first, end, seed, folder, found):
    """Run a child until it is done, dies or hangs; return the number of the next input."""
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    position = Path(folder, "position")
    position.write_text(str(first))
    command = [sys.executable, "-m", "tests.attacks.fuzz", "--child", str(position)]
    command += ["--first", str(first), "--inputs", str(end - first), "--seed", str(seed)]
    with (
        tempfile.TemporaryFile("w+", errors="replace") as messages,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, text=True, env=environment) as child,
    ):
        hung = not _collect(child, position, found)
        code = child.wait()
        messages.seek(0)
        found.messages += messages.read()[:2000]
    if code == 0:
        return end
    number = int(position.read_text() or first)
    if hung:
        found.hangs.append(number)
    else:
        found.crashes[number] = f"exit code {code}"
    return number + 1


def _collect(child, position, found):
    """Add up what a child reports; whether it ended by itself."""
    last, since = "", time.monotonic()
    while True:
        ready, _, _ = select.select([child.stdout], [], [], 1.0)
        if ready:
            line = child.stdout.readline()
            if not line:
                return True
            report = json.loads(line)
            found.outcomes.update(report["outcomes"])
            found.errors.update({int(number): text for number, text in report["errors"].items()})
            found.peak = max(found.peak, report["peak"])
        now = position.read_text()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            child.kill()
            return False


def _decode_all(first, end, seed, position):
    """In the child: decode, note the number of each input before it, and report what came of them."""
    files = corpus()
    for data in files.values():
        decode(data, POLICY)  # loads all plug-ins
    start = peak_megabytes()
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
    outcomes, errors = collections.Counter(), {}
    with without_pillow_limits(), Path(position).open("r+") as notes:
        for number in range(first, end):
            notes.seek(0)
            notes.write(f"{number}")
            notes.flush()
            outcome = "decoded"
            try:
                decode(mutant(files, seed, number), POLICY)
            except BadImage as error:
                outcome = error.code
            except BaseException as error:
                outcome, errors[number] = "error", repr(error)
            outcomes[outcome] += 1
            if (number + 1) % _EVERY == 0 or number + 1 == end:
                print(
                    json.dumps({"outcomes": outcomes, "errors": errors, "peak": peak_megabytes() - start}), flush=True
                )
                outcomes, errors = collections.Counter(), {}


def main():
    """Decode the inputs that the options name, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _decode_all(options.first, options.first + options.inputs, options.seed, options.child)
        return
    found = fuzz(options.first, options.inputs, options.seed)
    print(f"inputs    {options.inputs:,} from {options.first:,}, seed {options.seed}")
    print(f"outcomes  {dict(found.outcomes.most_common())}")
    print(f"crashes   {len(found.crashes)} {found.crashes}")
    print(f"hangs     {len(found.hangs)} {found.hangs}")
    print(f"errors    {len(found.errors)} {found.errors}")
    print(f"memory    {found.peak} MB beyond the start at most, {MEMORY // 2**20} allowed")
    print(f"programs  {'STARTED' if found.programs else 'none started'}")
    print(f"messages  {found.messages!r}")


if __name__ == "__main__":
    main()
