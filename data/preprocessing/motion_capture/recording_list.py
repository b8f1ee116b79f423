"""Lists of recordings: which files of a folder to use, what each is called, and what kind of motion it shows.

A list is a text file: ``[kind]`` opens a group, ``name: file`` names a recording of it, ``#`` begins a comment. Files
are found by their names, in whatever sub-folder they lie.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.hdf5.access import listed
from utils.errors import DiffPoseError

_MAX_LIST_BYTES = 2**20
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,16}")


@dataclass(frozen=True)
class ListedRecording:
    """``name``: at most 16 characters, the action in the HDF5 file; ``file``: its file's name; ``kind``: its group."""

    name: str
    file: str
    kind: str


def read_recording_list(path: str | Path) -> list[ListedRecording]:
    """The recordings of a list, in its order.

    Raises DiffPoseError, naming file and line, for a list that can't be read, a line that is neither a group nor a
    recording, a name that is not 1 to 16 plain characters, and names or files that stand there twice.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_LIST_BYTES:
            raise DiffPoseError(f"{path}: over {_MAX_LIST_BYTES >> 20} MiB: this is no list of recordings")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DiffPoseError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        raise DiffPoseError(f"{path}: is no UTF-8 text: a list of recordings is expected") from None
    recordings: list[ListedRecording] = []
    kind = ""
    for number, line in enumerate(lines, 1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        if text.startswith("[") and text.endswith("]"):
            kind = " ".join(text[1:-1].split())
            continue
        name, separator, file = (part.strip() for part in text.partition(":"))
        if not separator or not file or not _NAME.fullmatch(name):
            raise DiffPoseError(
                f"{path}: line {number}: '{text[:60]}' is neither '[kind]' nor 'name: file' with a name of 1 to 16 "
                "letters, digits and _.+-"
            )
        if any(name == other.name or file == other.file for other in recordings):
            raise DiffPoseError(f"{path}: line {number}: '{text[:60]}': this name or file is listed twice")
        recordings.append(ListedRecording(name=name, file=file, kind=kind))
    if not recordings:
        raise DiffPoseError(f"{path}: lists no recording: write lines such as 'walk: humanoid3d_walk.txt'")
    return recordings


def find_listed(recordings: Sequence[ListedRecording], folder: Path, files: Sequence[Path]) -> list[Path]:
    """The file of each recording among ``files`` below ``folder``; DiffPoseError when one is missing or ambiguous."""
    found = []
    for recording in recordings:
        matches = [path for path in files if path.name == recording.file]
        if len(matches) != 1:
            count = "no file is" if not matches else f"{len(matches)} files are"
            raise DiffPoseError(
                f"{folder}: {count} called '{recording.file}' ({recording.name} in the list); motion files there: "
                f"{listed(path.name for path in files)}"
            )
        found.append(matches[0])
    return found
