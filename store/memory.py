"""How much memory this process may still take: of the machine, of its control groups, of its own limits."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_LIMITS = ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData"))


def available_memory() -> int:
    """Bytes, the least of what each limit leaves."""
    return max(0, min(_bounds()))


def _bounds() -> Iterator[int]:
    machine = _fields(Path("/proc/meminfo"))
    yield machine.get("MemAvailable", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for group in control_groups():
        yield from group_bound(group)
    status = _fields(Path("/proc/self/status"))
    for kind, field in _LIMITS:
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY and field in status:
            yield soft - status[field]


def control_groups() -> Iterator[Path]:
    """The folders of this process's control group and those above it, which limit it too (cgroups(7)).

    Within a container the path of /proc/self/cgroup may not be there; its root is what limits then.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or "memory" in controllers.split(","):
                root = Path("/sys/fs/cgroup") / ("memory" if controllers else "")
                inner = PurePosixPath(path.lstrip("/"))
                yield from (root / folder for folder in (inner, *inner.parents))


def group_bound(group: Path) -> Iterator[int]:
    """What a control group leaves, if it has a limit: cached files that can be dropped count as free."""
    statistics = group / "memory.stat"
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            left = int((group / limit).read_text()) - int((group / used).read_text())
            numbers = dict(line.split() for line in statistics.read_text().splitlines())
            yield left + int(numbers.get("total_inactive_file", numbers.get("inactive_file", 0)))


def _fields(path: Path) -> dict[str, int]:
    """Lines such as `MemAvailable:  123 kB` in bytes; nothing where there is no such file."""
    values = {}
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            name, _, rest = line.partition(":")
            parts = rest.split()
            if len(parts) == 2 and parts[1] == "kB":
                values[name] = int(parts[0]) * 1024
    return values
