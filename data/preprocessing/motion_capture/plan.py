"""Which motion files there are, whose they are, what they are called in the HDF5 file, and which are for testing."""

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.hdf5.access import listed
from data.preprocessing.motion_capture.deepmimic import is_deepmimic
from utils.errors import DiffPoseError
from utils.input_folders import is_clutter, note_passed_over

_ACTION_BYTES = 16
_SUBACTIONS = "0123456789abcdefghijklmnopqrstuvwxyz"
# Names such as LAFAN1's walk1_subject5: the subject is in the file's name.
_NAMED_SUBJECT = re.compile(r"^(.+?)[_-](subject\d+)$", re.IGNORECASE)
MAX_FILES = 100_000
_SUBJECT_LETTERS = "PQRTUVWXYZ"
MAX_SUBJECTS = 100 * len(_SUBJECT_LETTERS)


@dataclass(frozen=True)
class PlannedTake:
    """A file and its names: ``origin`` is what the subject is called in the folder, ``subject`` in the HDF5 file."""

    path: Path
    name: str
    origin: str
    subject: str
    action: str
    subaction: str
    split: str


def find_files(folder: str | Path) -> list[Path]:
    """All BVH files and DeepMimic clips below a folder, sorted by path.

    Files are told by their content; one that is called .bvh and isn't one is not passed over, so that reading it says
    what is wrong. DiffPoseError when there is no folder, or none in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DiffPoseError(f"{folder}: no such folder: --input_dir should hold motion files")
    files, passed_over = [], 0
    # os.walk does not follow links to folders, so that a loop of links cannot hold it.
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_clutter(name)]
        here = [Path(place) / name for name in names if not is_clutter(name) and _is_motion(Path(place) / name)]
        files += here
        passed_over += len(names) - len(here)
    note_passed_over(folder, passed_over, "no motion files")
    if not files:
        raise DiffPoseError(f"{folder}: no BVH file and no DeepMimic clip in it or in its sub-folders")
    if len(files) > MAX_FILES:
        raise DiffPoseError(f"{folder}: {len(files)} motion files, at most {MAX_FILES} go into one HDF5 file")
    return sorted(files, key=lambda path: path.relative_to(folder).parts)


def _is_motion(path: Path) -> bool:
    return path.is_file() and (path.name.lower().endswith(".bvh") or _begins_as_bvh(path) or is_deepmimic(path))


def _begins_as_bvh(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").upper().startswith(b"HIERARCHY")
    except OSError:
        return False


def plan_takes(
    folder: str | Path,
    files: Sequence[Path],
    *,
    labels: Sequence[str] | None = None,
    test_share: float = 0.2,
    test_files: Sequence[str] = (),
    seed: int = 0,
) -> list[PlannedTake]:
    """Names and split of each file, training takes first, each split in the order of subjects and files.

    A subject is a sub-folder, else what follows ``_subject`` in a file's name, else the file. The action is the folder
    between subject and file if there is one, else the file's name. With ``labels`` each file is a subject and an action
    of that name instead, and its rows do not depend on where it lies. ``test_files`` are patterns of files or subjects;
    without them ``test_share`` of the subjects (at least one; of the files when there is only one subject) is drawn.
    """
    folder = Path(folder)
    if labels is None:
        names = [_printable(path.relative_to(folder).as_posix()) for path in files]
        named = [_origin_and_action(path.relative_to(folder)) for path in files]
    else:
        names, named = list(labels), [(label, label) for label in labels]
    origins, actions = zip(*(map(_printable, pair) for pair in named), strict=True)
    subjects = list(dict.fromkeys(origins))
    if len(subjects) > MAX_SUBJECTS:
        raise DiffPoseError(f"{folder}: {len(subjects)} subjects, at most {MAX_SUBJECTS} have names: sort into folders")
    codes = {origin: f"{_SUBJECT_LETTERS[n // 100]}{n % 100:02d}" for n, origin in enumerate(subjects, 1)}
    tested = _tested(names, origins, test_share, test_files, seed)
    taken: dict[tuple[str, str], int] = {}
    takes = []
    for number, path in enumerate(files):
        action, subaction = _free_name(origins[number], actions[number], taken)
        takes.append(
            PlannedTake(
                path=path,
                name=names[number],
                origin=origins[number],
                subject=codes[origins[number]],
                action=action,
                subaction=subaction,
                split="testset" if tested[number] else "trainset",
            )
        )
    return sorted(takes, key=lambda take: (take.split == "testset", take.subject))


def _origin_and_action(relative: Path) -> tuple[str, str]:
    named = _NAMED_SUBJECT.match(relative.stem)
    *folders, _ = relative.parts
    if not folders:
        return (named[2], named[1]) if named else (relative.stem, relative.stem)
    return folders[0], folders[-1] if len(folders) > 1 else relative.stem


def _printable(text: str) -> str:
    """A file's name without line breaks and bytes that are no text."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _free_name(origin: str, action: str, taken: dict[tuple[str, str], int]) -> tuple[str, str]:
    """An action name that fits its column, and a subaction that no other take of the subject and action has."""
    action = re.sub(r"[^A-Za-z0-9_.+-]+", "_", action).strip("_") or "take"
    short = action[:_ACTION_BYTES]
    count = taken.get((origin, short), 0)
    taken[origin, short] = count + 1
    group, place = divmod(count, len(_SUBACTIONS))
    if group:
        tail = f"~{group}"
        short = short[: _ACTION_BYTES - len(tail)] + tail
    return short, _SUBACTIONS[place]


def _tested(
    names: Sequence[str], origins: Sequence[str], share: float, patterns: Sequence[str], seed: int
) -> list[bool]:
    """Which files are for testing."""
    if patterns:
        used = {pattern: False for pattern in patterns}
        tested = []
        for name, origin in zip(names, origins, strict=True):
            hits = [
                pattern
                for pattern in patterns
                if any(fnmatch.fnmatchcase(text, pattern) for text in (name, name.rsplit("/", 1)[-1], origin))
            ]
            used.update(dict.fromkeys(hits, True))
            tested.append(bool(hits))
        idle = [pattern for pattern, hit in used.items() if not hit]
        if idle:
            raise DiffPoseError(f"--test_files {idle[0]}: no such file or subject (files: {listed(names)})")
        return tested
    if not 0 <= share <= 1:
        raise DiffPoseError(f"--test_share {share:g}: a share from 0 to 1 is expected")
    groups = list(origins) if len(set(origins)) > 1 else list(names)
    distinct = list(dict.fromkeys(groups))
    count = round(share * len(distinct))
    if 0 < share < 1 and len(distinct) > 1:
        count = min(max(count, 1), len(distinct) - 1)
    drawn = np.random.default_rng([seed, 0x7E57]).permutation(len(distinct))[:count]
    chosen = {distinct[number] for number in drawn}
    return [group in chosen for group in groups]
