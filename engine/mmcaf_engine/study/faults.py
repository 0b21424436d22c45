"""The one place where foreign exceptions become a StudyError."""

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MmcafError, StudyError
from ..errors import printable as printable
from ..files import cure, reason
from ..machine.memory import need

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
"""What no text of DICOM holds: all of C0 but tab, line and page breaks and the escape of character sets (PS3.5
6.1.3)."""


def shown_text(text: str, limit: int = 64) -> str:
    """A header's text as `printable` shows it; empty where it cannot be one, by its control characters.

    Where a length is wrong, the value of an element is those that follow it as well, the patient's name among them.
    """
    return "" if _CONTROL.search(text.strip("\0")) else printable(text, limit)


class DamagedError(ValueError):
    """Data that are damaged, in our own words, which quote nothing of them; `doing` says where and what to do."""


@contextmanager
def doing(what: str, *, remedy: str = "Send the study again.") -> Iterator[None]:
    """Run a block in which only errors of ours may leave.

    Args:
        what: the work and the file that it is done on; messages start with it.
        remedy: what to do when the data are damaged.

    Raises:
        StudyError: in place of every foreign exception, which it carries as its cause. Of that it says the class alone:
            its text may quote what the file holds.
    """
    try:
        yield
    except MmcafError:
        raise
    except MemoryError as failure:
        needed = f": {said}" if (said := need(failure)) else ""
        raise StudyError(f"{what}: the memory of this machine does not suffice{needed}.", "Free memory.") from failure
    except (zipfile.BadZipFile, zlib.error, EOFError) as failure:
        raise StudyError(f"{what}: the data end early or are damaged.", remedy) from failure
    except OSError as failure:
        if failure.errno is None:  # not the system's: a package's word for bad data, such as gzip.BadGzipFile
            raise StudyError(f"{what}: the data are damaged ({type(failure).__name__}).", remedy) from failure
        raise StudyError(f"{what}: cannot be read: {reason(failure)}.", cure(failure)) from failure
    except Exception as failure:
        said = str(failure) if isinstance(failure, DamagedError) else type(failure).__name__
        raise StudyError(f"{what}: damaged ({said}).", remedy) from failure
