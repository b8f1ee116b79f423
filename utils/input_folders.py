"""Folders of input files: what in them is data, and what operating systems and downloads left there."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from utils.errors import DiffPoseError

# Names in lower case. Hidden files, which include the "._" companions of macOS, are told by their dot.
_LEFT_BY_SYSTEMS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "$recycle.bin", "@eadir"}
_CHECKSUM_NAME = re.compile(r"(md5|sha\d*|b2|check)[-_]?sums?([-_.].*)?")
_ENDINGS = (".md5", ".sha1", ".sha224", ".sha256", ".sha384", ".sha512", ".crc", ".sfv", ".asc", ".sig")
_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp", "~")
_LAST_NUMBER = re.compile(r"(\d+)$")


def is_clutter(name: str) -> bool:
    """Whether a file's or folder's name is one of hidden files, thumbnails, checksums and unfinished downloads."""
    name = name.lower()
    return (
        name.startswith(".")
        or name in _LEFT_BY_SYSTEMS
        or _CHECKSUM_NAME.fullmatch(name) is not None
        or name.endswith((*_ENDINGS, *_UNFINISHED))
    )


def data_files(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder with an ending such as ``.jpg`` in any case, sorted by name.

    What else is in the folder is passed over and counted on stderr.
    """
    entries = sorted(folder.iterdir(), key=lambda path: path.name)
    found = [path for path in entries if path.name.lower().endswith(suffix) and not is_clutter(path.name)]
    note_passed_over(folder, len(entries) - len(found), f"no {suffix} files")
    return found


def note_passed_over(folder: Path, count: int, what: str = "no data") -> None:
    """Say on stderr that ``count`` entries of a folder were not read, if there are any."""
    if count:
        files = "1 file is" if count == 1 else f"{count} files are"
        print(f"note: {folder}: {files} {what} (hidden, thumbnails, checksums ..): passed over", file=sys.stderr)


def by_number(paths: Iterable[Path]) -> dict[int, Path]:
    """Files by the number at the end of their name: 5 for ``img_000005.jpg`` and for ``img_5.jpg``.

    Raises DiffPoseError for a file without a number and for a second file with the same.
    """
    numbered: dict[int, Path] = {}
    for path in paths:
        match = _LAST_NUMBER.search(path.stem)
        if match is None:
            raise DiffPoseError(f"{path}: no number at the end of its name says which frame it is: rename or remove it")
        other = numbered.setdefault(int(match[1]), path)
        if other is not path:
            raise DiffPoseError(f"{path}: has the number {int(match[1])}, and so has {other.name}: remove one of them")
    return numbered
