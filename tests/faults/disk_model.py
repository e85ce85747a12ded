"""A disk that loses power: which files and names are left of a sequence of calls, of which some were not synced.

POSIX promises that a file's bytes are on the disk after its fsync, and a name (or its removal) after the fsync of its
folder. Anything else may have got there or not, in any combination.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class File:
    """A file's bytes, as they are in memory and on the disk."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass
class Folder:
    """A folder's entries on the disk, and the changes that are in memory alone: (name, entry or None)."""

    entries: "dict[str, File | Folder]" = field(default_factory=dict)
    pending: "list[tuple[str, File | Folder | None]]" = field(default_factory=list)

    def now(self):
        return {name: entry for name, entry in {**self.entries, **dict(self.pending)}.items() if entry is not None}


class Recorder:
    """Watches the calls that change what is below `root`, which is there already and safe."""

    def __init__(self, patch, root):
        self.root = str(root)
        self.calls = []
        self.descriptors = {}
        for name in ("mkdir", "open", "write", "fsync", "close", "link", "unlink", "rename"):
            patch.setattr(os, name, self.watched(name, getattr(os, name)))

    def watched(self, name, original):
        def call(*arguments, **keywords):
            result = original(*arguments, **keywords)
            note = getattr(self, f"note_{name}", None)
            target = arguments[0]
            own = target in self.descriptors if isinstance(target, int) else os.fsdecode(target).startswith(self.root)
            if own and note:
                note(result, *arguments)
            return result

        return call

    def named(self, path):
        return os.path.relpath(os.fsdecode(path), self.root)

    def note_open(self, descriptor, path, flags, *_):
        self.descriptors[descriptor] = self.named(path)
        if flags & os.O_CREAT:
            self.calls.append(("create", self.named(path)))

    def note_write(self, count, descriptor, data):
        self.calls.append(("write", self.descriptors[descriptor], bytes(data[:count])))

    def note_fsync(self, _, descriptor):
        self.calls.append(("sync", self.descriptors[descriptor]))

    def note_close(self, _, descriptor):
        del self.descriptors[descriptor]

    def note_mkdir(self, _, path, *__):
        self.calls.append(("mkdir", self.named(path)))

    def note_link(self, _, path, new):
        self.calls.append(("link", self.named(path), self.named(new)))

    def note_unlink(self, _, path):
        self.calls.append(("unlink", self.named(path)))

    def note_rename(self, _, path, new):
        self.calls.append(("link", self.named(path), self.named(new)))
        self.calls.append(("unlink", self.named(path)))


def replayed(calls):
    """The disk after those calls."""
    top = Folder()
    for name, path, *rest in calls:
        *above, last = Path(path).parts or (".",)
        folder = _found(top, above)
        if name == "create":
            folder.pending.append((last, File()))
        elif name == "mkdir":
            folder.pending.append((last, Folder()))
        elif name == "write":
            folder.now()[last].data += rest[0]
        elif name == "link":
            *above_new, new = Path(rest[0]).parts
            _found(top, above_new).pending.append((new, folder.now()[last]))
        elif name == "unlink":
            folder.pending.append((last, None))
        else:
            _sync(top if path == "." else folder.now()[last])
    return top


def _found(folder, parts):
    for part in parts:
        folder = folder.now()[part]
    return folder


def _sync(entry):
    if isinstance(entry, File):
        entry.synced = bytes(entry.data)
    else:
        entry.entries, entry.pending = entry.now(), []


def write_out(folder, place, kept):
    """What is left after the power came back; `kept()` says of each change that was not synced whether it is there."""
    place.mkdir(parents=True)
    entries = folder.entries | {name: entry for name, entry in folder.pending if kept()}
    for name, entry in entries.items():
        if isinstance(entry, Folder):
            write_out(entry, place / name, kept)
        elif entry is not None:
            lost = entry.synced if bytes(entry.data[: len(entry.synced)]) == entry.synced else b""
            (place / name).write_bytes(bytes(entry.data) if kept() else lost)
