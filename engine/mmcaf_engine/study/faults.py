"""The one place where foreign exceptions become a StudyError."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MmcafError, StudyError
from ..errors import printable as printable
from ..files import cure, reason
from ..machine.memory import need


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
