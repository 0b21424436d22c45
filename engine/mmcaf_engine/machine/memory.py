"""How much memory a process may still take, as the system says, and what is said where that is too little."""

from pathlib import Path

from ..errors import BackendError, Remedy

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

LEAST_ADDRESS_SPACE = 600 * 2**20
"""Bytes that the libraries of this program need before any network or study. With less, one of them may crash: the
smallest network answered in ONNX Runtime with 500 MiB, in OpenVINO with 1300."""

_LACKS = (
    "bad_alloc",
    "bad allocation",
    "cannot allocate memory",
    "can't alloc",
    "failed to allocate memory",
    "failed to map segment",
    "can't start new thread",
    "out of memory",
)
"""How runtimes and the system say it."""

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


def address_space() -> int | None:
    """Bytes of address space that this process may take (ulimit -v); None without a limit."""
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else int(limit)


def require_address_space() -> None:
    """Refuse to go on where libraries would crash for want of address space; to be called before they are imported.

    Raises:
        BackendError: there is too little.
    """
    limit = address_space()
    if limit is not None and limit < LEAST_ADDRESS_SPACE:
        raise BackendError(
            f"This process may take {mebibytes(limit)} of address space (ulimit -v); at least "
            f"{mebibytes(LEAST_ADDRESS_SPACE)} are needed, and more for a large network or study.",
            _LIFT,
        )


def lacks_memory(failure: BaseException) -> bool:
    """Whether an exception, also a runtime's, is for want of memory. Its text is looked at and never shown."""
    if isinstance(failure, MemoryError):
        return True
    try:
        said = str(failure).lower()
    except Exception:  # One of another package's may fail even at that.
        return False
    return any(words in said for words in _LACKS)


def out_of_memory(doing: str, failure: BaseException) -> BackendError:
    """The error about it, with what was needed and what there is, as far as that is known."""
    facts = [need(failure)]
    if (available := available_memory()) is not None:
        facts.append(f"{mebibytes(available)} are available on this machine")
    if (limit := address_space()) is not None:
        facts.append(f"this process may take {mebibytes(limit)} of address space (ulimit -v)")
    said = "; ".join(fact for fact in facts if fact)
    remedies = ("Close other programs, or give this one more memory.", *(() if limit is None else (_LIFT,)))
    return BackendError(f"Out of memory while {doing}{': ' if said else ''}{said}.", *remedies)


def need(failure: BaseException) -> str:
    """The array that could not be made, in words, where numpy tells it; "" else."""
    shape, kind = getattr(failure, "shape", None), getattr(failure, "dtype", None)
    if not isinstance(failure, MemoryError) or not isinstance(shape, tuple) or kind is None:
        return ""
    size = int(kind.itemsize)
    for length in shape:
        size *= int(length)
    return f"{mebibytes(size)} were needed at once"


def mebibytes(size: int) -> str:
    """In MiB, rounded up."""
    return f"{-(-size // 2**20):,} MiB"


_LIFT = Remedy("Lift the limit of the address space", command="ulimit -v unlimited")


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
