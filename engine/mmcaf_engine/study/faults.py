"""The one place where foreign exceptions become a StudyError."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MmcafError, StudyError
from ..errors import printable as printable
from ..files import cure, reason

MAX_DETAIL = 160


@contextmanager
def doing(what: str, *, remedy: str = "Send the study again.", quote: bool = False) -> Iterator[None]:
    """Run a block in which only errors of ours may leave.

    Args:
        what: the work and the file that it is done on; messages start with it.
        remedy: what to do when the data are damaged.
        quote: pass on the first line of a foreign message. Only where the foreign code sees no
            patient data, such as a pixel decoder.

    Raises:
        StudyError: in place of every foreign exception, which it carries as its cause.
    """
    try:
        yield
    except MmcafError:
        raise
    except MemoryError as failure:
        raise StudyError(f"{what}: the memory of this machine does not suffice.", "Free memory.") from failure
    except (zipfile.BadZipFile, zlib.error, EOFError) as failure:
        raise StudyError(f"{what}: the data end early or are damaged.", remedy) from failure
    except OSError as failure:
        if failure.errno is None:  # not the system's: a package's word for bad data, such as gzip.BadGzipFile
            raise StudyError(f"{what}: the data are damaged ({type(failure).__name__}).", remedy) from failure
        raise StudyError(f"{what}: cannot be read: {reason(failure)}.", cure(failure)) from failure
    except Exception as failure:
        detail = f": {printable(str(failure).strip(), MAX_DETAIL)}" if quote and str(failure).strip() else ""
        raise StudyError(f"{what}: damaged ({type(failure).__name__}{detail}).", remedy) from failure
