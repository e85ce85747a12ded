"""How much memory this process may still take: the machine's, its container's, its own limits'."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_LIMITS = ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData"))


def available_memory() -> int:
    """Bytes, the least of what each limit leaves."""
    return max(0, min(_bounds()))


def _bounds() -> Iterator[int]:
    machine = _fields("/proc/meminfo")
    yield machine.get("MemAvailable", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit, used in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            yield int(Path(limit).read_text()) - int(Path(used).read_text())
    own = _fields("/proc/self/status")
    for kind, field in _LIMITS:
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY and field in own:
            yield soft - own[field]


def _fields(path: str) -> dict[str, int]:
    """Lines such as `MemAvailable:  123 kB` in bytes; nothing where there is no such file."""
    values = {}
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            name, _, rest = line.partition(":")
            parts = rest.split()
            if len(parts) == 2 and parts[1] == "kB":
                values[name] = int(parts[0]) * 1024
    return values
