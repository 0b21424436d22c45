"""How much memory a process may still take, as the system says."""

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, at most what the container still allows; None if nothing says it.

    Linux, proc(5): MemAvailable. Control groups, version 2 (memory.max, memory.current) and version 1
    (memory.limit_in_bytes, memory.usage_in_bytes), as a container sees its own at the root.
    """
    free = [_available(), _allowed("memory.max", "memory.current")]
    free.append(_allowed("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    return min((one for one in free if one is not None), default=None)


def _available() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    words = facts.get("MemAvailable", "").split()  # "21345678 kB"
    return int(words[0]) * 1024 if words and words[0].isdigit() else None


def _allowed(limit: str, taken: str) -> int | None:
    """What a control group leaves; None without a limit."""
    try:
        words = [(_CGROUP / name).read_text(encoding="ascii").strip() for name in (limit, taken)]
    except (OSError, UnicodeDecodeError):
        return None
    return max(0, int(words[0]) - int(words[1])) if all(word.isdigit() for word in words) else None
