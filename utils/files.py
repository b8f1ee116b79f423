"""Files that are whole or not there."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from utils.errors import DiffPoseError

PARTIAL = ".partial"
"""Ending of a file that is still being written."""


@contextlib.contextmanager
def renamed_when_whole(
    path: str | os.PathLike[str], *, unique: bool = False, durable: bool = False, make_folder: bool = True
) -> Iterator[Path]:
    """Gives a name to write to; the file gets its own when the block ends well, and nothing is left when it does not.

    ``unique``: the name is like no other, so that several processes may make the same file. ``durable``: the content
    is on the disk before the file gets its name, so that a power cut can't leave an empty one under it.

    ``make_folder=False``: a folder that is missing is an error. An OSError comes out as it is;
    :func:`written_in_one_step` turns it into one line.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}" if unique else path.name + PARTIAL)
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if durable:
            _on_disk(partial)
        os.replace(partial, path)
        if durable:
            with contextlib.suppress(OSError):  # not every system can do that with a folder
                _on_disk(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def written_in_one_step(
    path: str | os.PathLike[str], *, way_out: str = "choose another output folder", make_folder: bool = True
) -> Iterator[Path]:
    """As :func:`renamed_when_whole`, for files that a user asked for.

    Raises DiffPoseError, with the reason and ``way_out``, when the folder can't be made or the file can't be written.
    """
    try:
        with renamed_when_whole(path, make_folder=make_folder) as partial:
            yield partial
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise DiffPoseError(f"{path}: cannot be written ({reason}): {way_out}") from error


def _on_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
