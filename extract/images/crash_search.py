"""Finding images that crash or hang the process that decodes them: they are decoded in a process that may be lost.

python -m extract.images.crash_search < request
    writes the position of each image to standard output before decoding it
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode, without_pillow_limits
from extract.sources.reading import listed_status, open_images, read_image
from extract.watchdog import Watchdog
from store.errors import EnvironmentFailure
from store.image_records import Failure

PATIENCE = 120.0
"""Seconds that one image may take. An image that takes longer hangs."""


@dataclass(frozen=True)
class _Ending:
    """How a process ended after it had begun to decode images.

    Attributes:
        begun: the position of the last image that it began.
        exit_code: 0 if it decoded all of them; negative for a signal.
        hung: whether it was killed because that image took too long.
    """

    begun: int
    exit_code: int
    hung: bool


def find_crashing_images(
    root: str, paths: Sequence[str], policy: DecodePolicy, patience: float = PATIENCE
) -> dict[str, Failure]:
    """The images that twice in a row crash or hang a process that decodes them. Ordinary failures are not among them.

    Args:
        root: the folder or URL that paths are relative to.
        paths: row names.
        policy: how pixels are made.
        patience: seconds that one image may take.

    Returns:
        The failures by path.

    Raises:
        EnvironmentFailure: a process did not start, or an image cannot be read now. That says nothing about images.
    """
    crashing: dict[str, Failure] = {}
    remaining = list(paths)
    while remaining:
        ending = _decode_in_process(root, remaining, policy, patience)
        if ending.exit_code == 0:
            break
        suspect = remaining[ending.begun]
        # The process may have been killed for another reason, such as lack of memory, so the image is tried by itself.
        alone = _decode_in_process(root, [suspect], policy, patience)
        if alone.exit_code != 0:
            crashing[suspect] = _failure(root, suspect, alone, patience)
        remaining = remaining[ending.begun + 1 :]
    return crashing


def _failure(root: str, path: str, ending: _Ending, patience: float) -> Failure:
    if ending.hung:
        code, message = "hangs", f"decoding it takes longer than {patience:g} s"
    else:
        code, message = "crashes", f"decoding it ends the process (exit code {ending.exit_code})"
    return Failure(path, code, message, "", *listed_status(open_images(root), path))


def _decode_in_process(root: str, paths: Sequence[str], policy: DecodePolicy, patience: float) -> _Ending:
    """Decode images in a new process.

    Raises:
        EnvironmentFailure: it ended for a reason that has nothing to do with an image.
    """
    with TemporaryFile("w+") as request, TemporaryFile("w+", errors="replace") as errors:
        json.dump({"root": root, "paths": list(paths), "policy": asdict(policy)}, request)
        request.seek(0)
        begun: int | None = None
        with (
            subprocess.Popen(
                [sys.executable, "-m", "extract.images.crash_search"],
                stdin=request,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
            Watchdog(patience, process.kill) as watchdog,
        ):
            for line in process.stdout or ():
                begun = int(line)
                watchdog.restart()
        errors.seek(0)
        reason = (errors.read().strip().splitlines() or ["no message"])[-1]
    if process.returncode == EnvironmentFailure.exit_code:
        raise EnvironmentFailure(reason)
    if begun is None:
        raise EnvironmentFailure(
            f"the process that searches for crashing images ended before its first image (exit code "
            f"{process.returncode}: {reason}): free some memory, then run the same command again"
        )
    return _Ending(begun, process.returncode, watchdog.expired)


def main() -> None:
    """Decode the images that standard input names."""
    request = json.loads(sys.stdin.read())
    fields = request["policy"]
    tuples = {name: tuple(fields[name]) for name in ("size", "background", "resize_to")}
    policy = DecodePolicy(**{**fields, **tuples})
    try:
        _decode_all(request["root"], request["paths"], policy)
    except EnvironmentFailure as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EnvironmentFailure.exit_code)


def _decode_all(root: str, paths: Sequence[str], policy: DecodePolicy) -> None:
    files = open_images(root)
    with without_pillow_limits():
        for position, path in enumerate(paths):
            sys.stdout.write(f"{position}\n")
            sys.stdout.flush()
            try:
                decode(read_image(files, path).data, policy)
            except BadImage:
                continue


if __name__ == "__main__":
    main()
