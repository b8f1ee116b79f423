"""Files that are whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from utils.errors import DiffPoseError


@contextlib.contextmanager
def written_in_one_step(path: str | Path) -> Iterator[Path]:
    """Gives a name to write to; the file gets its own when the block ends well, and nothing is left when it does not.

    Raises DiffPoseError when the folder can't be made or written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise DiffPoseError(f"{path}: cannot be written ({error.strerror}): choose another output folder") from error
    finally:
        if partial.is_file():
            partial.unlink()
