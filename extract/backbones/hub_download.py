"""Downloading from a hub with its own library, whose errors become ours.

HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE count as for other programs (https://huggingface.co/docs/huggingface_hub,
"Environment variables").
"""

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from extract.backbones.hub_model import PREFIX, HubFile, HubFolder, HubModel
from store.errors import EnvironmentFailure, UsageError
from store.files.local import write_whole
from store.progress import Reporter
from store.suggestions import suggest, suggest_install

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

COMMIT = re.compile(r"[0-9a-f]{40}")
COMPLETE = "complete.json"
"""Written last: which repository and commit a folder holds."""

NOTES = ".cache/huggingface"
"""Where the library keeps its notes on downloads in progress."""

_MOST_FILE_BYTES = 100 * 10**9


def require_library() -> None:
    """Raise UsageError unless the library that downloads is installed."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UsageError(
            f"networks named {PREFIX}ORG/NAME are downloaded by huggingface-hub, which is not installed: "
            f"{suggest_install('huggingface-hub')}, or download the folder by other means and name it"
        )


def _api() -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="stillframe")


def look_up(model: HubModel) -> tuple[str, list[HubFile]]:
    """The commit of a revision, and its files.

    Raises:
        UsageError, EnvironmentFailure: see `extract.backbones.hub.fetch_hub`.
    """
    with explained(model):
        info = _api().model_info(model.repository, revision=model.revision, files_metadata=True, timeout=30)
    commit = info.sha or ""
    if not COMMIT.fullmatch(commit):
        raise EnvironmentFailure(f"the hub names no commit for {model}: expected 40 hexadecimal digits, got {commit!r}")
    return commit, [_described(sibling) for sibling in info.siblings or ()]


def _described(sibling: "RepoSibling") -> HubFile:
    size = sibling.size or 0
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    return HubFile(sibling.rfilename, size, sha256, None if sha256 else sibling.blob_id)


def download(found: HubFolder, files: Sequence[HubFile], reporter: Reporter) -> None:
    """Download the files, those that are there from earlier tries excepted, and check each.

    Raises:
        UsageError, EnvironmentFailure: see `extract.backbones.hub.fetch_hub`.
    """
    from huggingface_hub import hf_hub_download

    total = sum(file.size for file in files)
    _require_room(found, files, total)
    reporter.message(f"downloading {found.model} ({total / 1e6:,.1f} MB, commit {found.commit[:12]})")
    for file in files:
        with explained(found.model), reporter.step(f"downloading {file.name}", None):
            hf_hub_download(
                found.model.repository,
                file.name,
                revision=found.commit,
                local_dir=found.path,
                endpoint=os.environ.get("HF_ENDPOINT") or None,
            )
        _require_stated(found, file)
    shutil.rmtree(found.path / NOTES, ignore_errors=True)
    with contextlib.suppress(OSError):
        (found.path / NOTES).parent.rmdir()
    described = {"repository": found.model.repository, "commit": found.commit, "files": [file.name for file in files]}
    write_whole(found.path / COMPLETE, json.dumps(described, indent=1).encode())


def _require_room(found: HubFolder, files: Sequence[HubFile], total: int) -> None:
    """Raise unless the files fit on the disk, and are of possible sizes."""
    if any(not 0 <= file.size <= _MOST_FILE_BYTES for file in files):
        raise UsageError(
            f"{found.model} has a file of more than {_MOST_FILE_BYTES / 1e9:.0f} GB: expected an image network"
        )
    try:
        found.path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(found.path).free
    except OSError as error:
        raise EnvironmentFailure(f"cannot write {found.path}: {error.strerror or error}") from error
    if free < total:
        raise EnvironmentFailure(
            f"{found.model} takes {total / 1e9:.2f} GB and {free / 1e9:.2f} GB are free at {found.path}: make room, or "
            "name another folder in STILLFRAME_CACHE"
        )


def _require_stated(found: HubFolder, file: HubFile) -> None:
    """Raise EnvironmentFailure, and delete the file, unless it is what the hub stated."""
    path = found.path / file.name
    with path.open("rb") as opened:
        if file.sha256 is not None:
            right = hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
        else:
            header = f"blob {path.stat().st_size}\0".encode()
            right = hashlib.sha1(header + opened.read(), usedforsecurity=False).hexdigest() == file.sha1
    if not right:
        path.unlink()
        shutil.rmtree(found.path / NOTES, ignore_errors=True)
        raise EnvironmentFailure(
            f"{file.name} of {found.model} is not what the hub states (another digest): run the same command again"
        )


@contextmanager
def explained(model: HubModel) -> Iterator[None]:
    """Inside the block, the library's errors become ours, each in a line."""
    from huggingface_hub import errors

    try:
        with _quiet_library():
            yield
    except (errors.GatedRepoError, errors.DisabledRepoError) as error:
        raise UsageError(
            f"access to {model} is restricted by its authors: accept their terms on its page, then set HF_TOKEN to a token "
            "of that account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UsageError(
            f"the hub has no {model.repository}, or it is private: check the name, or set HF_TOKEN to a token that may read it"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(
            f"{model.repository} has no revision {model.revision}: name a branch, a tag or a commit"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise EnvironmentFailure(
            f"{model} is not on this machine and HF_HUB_OFFLINE forbids downloads: run "
            f"{suggest('extract', 'fetch', f'{PREFIX}{model.repository}', '--to', 'DIR')} on a machine with a network and "
            "name that folder"
        ) from error
    except errors.HFValidationError as error:
        raise UsageError(f"{model}: the hub cannot have a network of that name ({error})") from error
    except (_http_error(), OSError) as error:
        raise EnvironmentFailure(f"cannot download {model}: {_reason(error)}; run the same command again") from error


def _reason(error: BaseException) -> str:
    """The cause of a download that failed, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = str(error).strip().splitlines()
    return first[0].rstrip(".:;") if first else type(error).__name__


def _http_error() -> type[Exception]:
    """What the library raises where a server cannot be reached."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    found: type[Exception] = HTTPError
    return found


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Inside the block, the library shows no bars of its own and repeats nothing that our one line says."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown, logger = not are_progress_bars_disabled(), logging.getLogger("huggingface_hub")
    level = logger.level
    disable_progress_bars()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if shown:
            enable_progress_bars()
