"""Networks of a model hub: `hf:ORG/NAME[@REVISION]` -> a folder in Hugging Face layout on this machine.

A network is downloaded once and named by its commit, so that what a store was made with stays what it is when its
authors publish another version:

    hub/<org>--<name>/<commit>/          config.json, onnx/model.onnx, …; only if `complete.json` is among them
    hub/<org>--<name>/refs/<revision>    the commit that a branch or tag had when it was looked up

Only files that are data are downloaded: never pickles, never code.
"""

import json
from pathlib import Path

from extract.backbones.hub_download import COMMIT, COMPLETE, NOTES, download, look_up, require_library
from extract.backbones.hub_model import HubFolder, HubModel, needed_files
from store.errors import EnvironmentFailure, UsageError
from store.files.cache import cache_folder
from store.files.local import write_whole
from store.progress import SILENT, Reporter


def fetch_hub(model: HubModel, to: Path | None = None, reporter: Reporter = SILENT) -> HubFolder:
    """Look a network up at the hub, and download it unless that very commit is here.

    Args:
        model: which network.
        to: a folder for it, to be taken to another machine; the cache folder if None.
        reporter: shows what is downloaded.

    Raises:
        UsageError: there is no such network, access to it is restricted, or it has no file that can be used; or the
            library that downloads is not installed.
        EnvironmentFailure: the hub cannot be reached, what came is not what it states, or the disk is full.
    """
    require_library()
    commit, files = look_up(model)
    chosen = needed_files(files, model)
    folder = to if to is not None else _folder(model.repository, commit)
    found = HubFolder(folder, model, commit)
    if not _is_complete(found):
        if to is not None:
            _require_free(to, model)
        download(found, chosen, reporter)
    if to is None:
        _remember(found)
    return found


def find_hub(model: HubModel, reporter: Reporter = SILENT) -> HubFolder:
    """The network as it was downloaded before, without asking the hub; downloaded now if it never was.

    Raises:
        UsageError, EnvironmentFailure: see `fetch_hub`.
    """
    commit = model.revision if COMMIT.fullmatch(model.revision) else _remembered(model)
    if commit is not None:
        found = HubFolder(_folder(model.repository, commit), model, commit)
        if _is_complete(found):
            return found
    return fetch_hub(model, None, reporter)


def _folder(repository: str, commit: str) -> Path:
    return _of_repository(repository) / commit


def _of_repository(repository: str) -> Path:
    return cache_folder() / "hub" / repository.replace("/", "--")


def _ref(model: HubModel) -> Path:
    return _of_repository(model.repository) / "refs" / model.revision.replace("/", "--")


def _remember(found: HubFolder) -> None:
    """Remember which commit a branch or tag has, so that later runs use the same and need no network."""
    if not COMMIT.fullmatch(found.model.revision):
        place = _ref(found.model)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, found.commit.encode())
        except OSError as error:
            raise EnvironmentFailure(f"cannot write {place}: {error.strerror or error}") from error


def _remembered(model: HubModel) -> str | None:
    try:
        text = _ref(model).read_text()
    except (OSError, ValueError):
        return None
    return text if COMMIT.fullmatch(text) else None


def _is_complete(found: HubFolder) -> bool:
    """Whether a folder holds that repository at that commit, whole."""
    try:
        described = json.loads((found.path / COMPLETE).read_text())
        return (
            described["commit"] == found.commit
            and described["repository"] == found.model.repository
            and all((found.path / name).is_file() for name in described["files"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _require_free(to: Path, model: HubModel) -> None:
    """Raise UsageError unless a folder is new, empty, or holds a download that ended early."""
    broken = (to / NOTES).is_dir() and not (to / COMPLETE).exists()
    if to.exists() and not broken and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"--to {to} exists and does not hold {model} at its present commit: name a new folder")
