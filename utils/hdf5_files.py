"""HDF5 files in a world of full disks and missing plugins: what h5py alone does not survive or not explain."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py

from utils.environment import environment_trouble
from utils.errors import DiffPoseError

MAKE_AGAIN = "the file is damaged or unreadable, copy or make it again"
HDF5_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
)
"""What h5py raises for damaged files (NotImplementedError is a RuntimeError)."""


def reason(error: BaseException) -> str:
    """An HDF5 error's text as one line of bounded length."""
    return " ".join(str(error).strip("'\"").split())[:300] or type(error).__name__


@contextlib.contextmanager
def reading(path: Path, what: str, way_out: str = MAKE_AGAIN) -> Iterator[None]:
    """Turns whatever h5py raises inside into a DiffPoseError: ``<path>: <what> cannot be read (..): <way out>``."""
    try:
        yield
    except DiffPoseError:
        raise
    except HDF5_ERRORS as error:
        trouble = environment_trouble(error)
        if trouble:
            raise DiffPoseError(f"{path}: {what} cannot be read ({trouble})") from error
        raise DiffPoseError(f"{path}: {what} cannot be read ({reason(error)}): {way_out}") from error


def check_filters(column: h5py.Dataset, path: Path) -> None:
    """DiffPoseError when a data set needs a filter plugin that is not there: the file itself is whole.

    Plugins of the package hdf5plugin are taken up when it is installed.
    """
    properties = column.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if h5py.h5z.filter_avail(code):
            continue
        with contextlib.suppress(ImportError):
            import hdf5plugin  # noqa: F401 - makes its filters known to h5py
        if not h5py.h5z.filter_avail(code):
            text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
            called = f" ({' '.join(text.split())[:60]})" if text.strip("\0 ") else ""
            raise DiffPoseError(
                f"{path}: '{column.name}' needs HDF5 filter {code}{called}, whose plugin is not installed: "
                "pip install hdf5plugin, or h5repack -f NONE on the machine that made the file"
            )


class KeptErrorFile:
    """A file for HDF5 to write to whose writes always seem to succeed; the first error is kept in ``error``.

    HDF5 does not survive a full disk: it tries again while closing, and ends the process. So the failure is noticed by
    the writer instead, which gives the file up.
    """

    def __init__(self, path: Path):
        self._file = path.open("w+b", buffering=0)
        self.error: OSError | None = None
        self.seek, self.tell = self._file.seek, self._file.tell
        self.read, self.readinto = self._file.read, self._file.readinto

    def write(self, data: memoryview) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self.error is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int) -> int:
        try:
            self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
        return size

    def flush(self) -> None:
        """Nothing is buffered."""

    def check(self) -> None:
        """Raise the kept error."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def new_hdf5(path: Path, **options: object) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """A new HDF5 file, with options of :class:`h5py.File`, and a function that raises the first write's error, if any.

    At the end of the block that is done in any case.
    """
    disk = KeptErrorFile(path)
    try:
        with h5py.File(disk, "w", **options) as file:
            yield file, disk.check
        disk.check()
    finally:
        disk.close()
