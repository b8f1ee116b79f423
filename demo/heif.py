"""AVIF and HEIC, pictures in boxes as MP4 has them: what OpenCV makes of them, and how far they are to be turned."""

import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

_HINTS = {
    "HEIC": (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"),
    "AVIF": (b"avif", b"avis"),
}
_CONVERTERS = {"HEIC": "heif-convert or pillow-heif", "AVIF": "avifdec or Pillow"}
# Boxes that only hold others, and what their content begins with, bytes.
_HOLDERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}


def kind_of_heif(start: bytes) -> str | None:
    """``AVIF`` or ``HEIC`` if the first bytes of a file (at least 12) say so, else None."""
    if start[4:8] != b"ftyp":
        return None
    (size,) = struct.unpack(">I", start[:4])
    brands = [start[8:12], *(start[k : k + 4] for k in range(16, min(size, len(start)) - 3, 4))]
    if brands[0] not in {brand for group in _HINTS.values() for brand in group}:
        return None
    return "AVIF" if set(_HINTS["AVIF"]) & set(brands) else "HEIC"


def heif_hint(path: Path) -> str | None:
    """What to do about a HEIC or AVIF file that OpenCV can't read; None for files of other kinds.

    Video decoders take some for a film, of one tile of the picture, so that this is to be asked before them.
    """
    with path.open("rb") as file:
        kind = kind_of_heif(file.read(64))
    if kind is None:
        return None
    return f"{kind}, which this OpenCV can't read: convert it to JPEG, e.g. with {_CONVERTERS[kind]}"


def heif_turn(data: bytes) -> tuple[int, int | None] | None:
    """How an AVIF picture is to be turned: quarters against the clock, then a mirror's axis (0: up and down, 1: sides).

    None where no box says anything.
    """
    if kind_of_heif(data[:64]) is None:
        return None
    found = {name: content[0] for name, content in _boxes(data) if name in (b"irot", b"imir") and content}
    if not found:
        return None
    return found.get(b"irot", 0) & 3, found[b"imir"] & 1 if b"imir" in found else None


def turned(image: np.ndarray, turn: tuple[int, int | None]) -> np.ndarray:
    """A decoded picture (H, W) or (H, W, C) as :func:`heif_turn` says."""
    quarters, axis = turn
    image = np.rot90(image, quarters)
    return np.ascontiguousarray(image if axis is None else cv2.flip(np.ascontiguousarray(image), axis))


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, content) of the boxes in the file, those inside of holders included."""
    place = 0
    while place + 8 <= len(data):
        size, name = struct.unpack(">I4s", data[place : place + 8])
        if size < 8:  # up to the end of the file, or longer than 4 GB: media, and no properties
            return
        content = data[place + 8 : place + size]
        if name in _HOLDERS:
            yield from _boxes(content[_HOLDERS[name] :])
        else:
            yield name, content
        place += size
