"""Finding the images that crash or hang whoever decodes them, each decoded in a process that may be lost by it.

python -m extract.images.crash_search < request        writes the position of each path before it is decoded
"""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict

from extract.images.decode import BadImage, DecodePolicy, decode, own_limits
from extract.sources.reading import images_at
from store.records import Failure

PATIENCE = 120.0
"""Seconds that one image may take before it counts as one that hangs."""


def find_crashing_images(
    root: str, paths: Sequence[str], policy: DecodePolicy, patience: float = PATIENCE
) -> dict[str, Failure]:
    """The images, by path, that end or hang a process that decodes them; ordinary failures are none of them.

    Args:
        root: the folder or URL that paths are relative to.
        paths: row names.
        policy: how pixels are made.
        patience: seconds that one image may take.
    """
    deadly: dict[str, Failure] = {}
    begin = 0
    while begin < len(paths):
        last, ending = _decode_all(root, paths[begin:], policy, patience)
        if ending is None:
            break
        path = paths[begin + last]
        deadly[path] = Failure(path, *ending, "", *images_at(root).size_and_time(path))
        begin += last + 1
    return deadly


def _decode_all(
    root: str, paths: Sequence[str], policy: DecodePolicy, patience: float
) -> tuple[int, tuple[str, str] | None]:
    """The position of the last image begun, and code and message of what it did to the process; None if nothing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "extract.images.crash_search"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    last = 0
    hung = threading.Event()

    def give_up() -> None:
        hung.set()
        process.kill()

    timer = threading.Timer(patience, give_up)
    with process:
        try:
            process.stdin.write(json.dumps({"root": root, "paths": list(paths), "policy": asdict(policy)}))
            process.stdin.close()
            timer.start()
            for line in process.stdout:
                timer.cancel()
                last = int(line)
                timer = threading.Timer(patience, give_up)
                timer.start()
        finally:
            timer.cancel()
    if hung.is_set():
        return last, ("hangs", f"decoding it takes longer than {patience:g} s")
    if process.returncode:
        return last, ("crashes", f"decoding it ends the process (exit code {process.returncode})")
    return last, None


def main() -> None:
    """Decode what the standard input asks for."""
    request = json.loads(sys.stdin.read())
    plain = request["policy"]
    policy = DecodePolicy(**{**plain, "size": tuple(plain["size"]), "background": tuple(plain["background"])})
    images = images_at(request["root"])
    with own_limits():
        for position, path in enumerate(request["paths"]):
            sys.stdout.write(f"{position}\n")
            sys.stdout.flush()
            try:
                decode(images.read(path).data, policy)
            except BadImage:
                continue


if __name__ == "__main__":
    main()
