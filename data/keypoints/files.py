"""Files of keypoints: arrays (.npy, .npz), COCO's results and annotations, OpenPose's JSON, DeepLabCut's tables."""

import codecs
import itertools
import json
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.keypoints.deeplabcut import read_table
from utils.environment import environment_trouble
from utils.errors import DiffPoseError
from utils.input_folders import data_files

FORMATS = "an array (.npy, .npz), COCO's results (.json), DeepLabCut's .csv, or a folder of OpenPose's JSON files"
_POINTS, _CONFIDENCE = ("keypoints", "xy"), ("confidence", "scores")
# The first bytes of .npy and .npz files, and of DeepLabCut's tables; all else should be JSON.
_ARRAYS_BEGIN = (b"\x93NUMPY", b"PK\x03\x04")
_TABLES_BEGIN = (b"scorer,", b"individuals,", b"bodyparts,")
# What COCO's annotations say of a point: not labelled, hidden, seen.
_FLAGS = np.array([0.0, 0.5, 1.0])
_LAST_NUMBER = re.compile(r"(.*?)(\d+)\D*(\.\w*)?")
_HIGHEST_NUMBER = 10**9  # beyond are times and the like


@dataclass(frozen=True)
class KeypointFrame:
    """People of one picture: ``points`` (P, K, 2) px and ``confidence`` (P, K), or None.

    ``number``: the last one in ``name`` where the names of all pictures tell, else it counts from 0.
    """

    name: str
    number: int
    points: np.ndarray
    confidence: np.ndarray | None


@dataclass(frozen=True)
class KeypointFile:
    """``frames`` in order; ``is_sequence``: they are those of one video, as far as can be told.

    ``layout``: the name of theirs, where the file says it by its joints' names.
    """

    frames: list[KeypointFrame]
    is_sequence: bool
    layout: str | None = None


def read_keypoints(path: str | Path, layout: str | None = None) -> KeypointFile:
    """The frames of a file or folder. ``layout``: in which order the columns of a table are put.

    Raises DiffPoseError for one that can't be read, or holds nobody.
    """
    path = Path(path)
    if not path.exists():
        raise DiffPoseError(f"{path}: no such file: give {FORMATS} with --keypoints")
    if path.is_dir():
        found = _openpose_folder(path)
    else:
        begin = _begin(path)
        if begin.startswith(_ARRAYS_BEGIN):
            found = _arrays(path)
        elif begin.removeprefix(codecs.BOM_UTF8).lower().startswith(_TABLES_BEGIN):
            found = _table(path, layout)
        else:
            found = _json_file(path)
    if not any(len(frame.points) for frame in found.frames):
        raise DiffPoseError(f"{path}: holds no keypoints of anybody: give {FORMATS}")
    return found


def _begin(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise DiffPoseError(f"{path}: can't be read ({environment_trouble(error) or error.strerror})") from None


def _arrays(path: Path) -> KeypointFile:
    """(K, 2 or 3), (N, K, 2 or 3), N frames of one person each, or (F, P, K, 2 or 3), F frames of P people."""
    confidence = None
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            points = content
        else:
            with content:
                names = list(content)
                name = next((name for name in (*_POINTS, "arr_0") if name in names), None)
                if name is None:
                    raise DiffPoseError(
                        f"{path}: holds {', '.join(names) or 'nothing'}: expected {' or '.join(_POINTS)}, "
                        f"and {' or '.join(_CONFIDENCE)} if there is one"
                    )
                points = content[name]
                confidence = next((content[name] for name in _CONFIDENCE if name in names), None)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DiffPoseError(f"{path}: can't be read as an array ({' '.join(str(error).split())})") from None
    shape = points.shape
    if points.dtype.kind not in "fiu" or not 2 <= points.ndim <= 4 or shape[-1] not in (2, 3):
        raise DiffPoseError(
            f"{path}: keypoints {shape} of {points.dtype}: expected numbers, (people, K, 2), or 3 with the confidence"
        )
    points = points.astype(np.float64)
    if confidence is None and shape[-1] == 3:
        confidence = points[..., 2]
    elif confidence is not None and confidence.shape != shape[:-1]:
        raise DiffPoseError(f"{path}: confidence {confidence.shape}: expected {shape[:-1]}, one for each keypoint")
    people = {2: (1, 1), 3: (shape[0], 1), 4: shape[:2]}[len(shape)]
    frames = points[..., :2].reshape(*people, shape[-2], 2)
    sure = None if confidence is None else np.asarray(confidence, np.float64).reshape(*people, shape[-2])
    return KeypointFile(
        [
            KeypointFrame(f"frame {number}", number, one, None if sure is None else sure[number])
            for number, one in enumerate(frames)
        ],
        is_sequence=len(frames) > 1,
    )


def _table(path: Path, layout: str | None) -> KeypointFile:
    """DeepLabCut's: people of whom a frame has no point are not in it."""
    table = read_table(path, layout)
    frames = []
    for number, name in enumerate(table.frames):
        there = np.isfinite(table.points[number]).any(axis=(1, 2))  # (P,)
        sure = None if table.confidence is None else table.confidence[number][there]
        title = f"frame {name}" if table.is_sequence else name
        frames.append(KeypointFrame(title, number, table.points[number][there], sure))
    return KeypointFile(_numbered(frames), is_sequence=table.is_sequence, layout=table.layout.name)


def _json_file(path: Path) -> KeypointFile:
    content = _parsed(path)
    if isinstance(content, list):
        return _coco(path, content, {}, are_flags=False)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        images = content.get("images")
        names = {
            str(image["id"]): str(image["file_name"])
            for image in (images if isinstance(images, list) else [])
            if isinstance(image, dict) and "id" in image and "file_name" in image
        }
        return _coco(path, content["annotations"], names, are_flags=True)
    if isinstance(content, dict) and "people" in content:
        return KeypointFile([_openpose(path, content, 0)], is_sequence=False)
    raise DiffPoseError(f"{path}: neither COCO's (a list of results, or 'annotations') nor OpenPose's ('people') JSON")


def _coco(path: Path, entries: Sequence, names: Mapping[str, str], *, are_flags: bool) -> KeypointFile:
    """Entries with ``image_id`` and ``keypoints`` (3 K): x, y and a score, or in annotations a flag, 0, 1 or 2."""
    by_image: dict[str, list[np.ndarray]] = {}
    for number, entry in enumerate(entries):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict) or "image_id" not in entry or "keypoints" not in entry:
            raise DiffPoseError(f"{where}: no image_id and keypoints, as COCO's results have")
        triples = _triples(entry["keypoints"], f"{where}, keypoints")
        if are_flags:
            flags = np.nan_to_num(triples[:, 2])
            if not np.isin(flags, (0, 1, 2)).all():
                raise DiffPoseError(f"{where}, keypoints: in annotations the third number is a flag, 0, 1 or 2")
            triples[:, 2] = _FLAGS[flags.astype(int)]
        by_image.setdefault(str(entry["image_id"]), []).append(triples)
    frames = [
        _frame(path, names.get(image, f"image {image}"), number, people)
        for number, (image, people) in enumerate(by_image.items())
    ]
    return KeypointFile(_numbered(frames), is_sequence=False)


def _numbered(frames: Sequence[KeypointFrame]) -> list[KeypointFrame]:
    """The frames by the numbers in their names, if each has its own: a picture that is missing moves no other."""
    found = [_LAST_NUMBER.fullmatch(frame.name) for frame in frames]
    numbers = {int(match[2]) for match in found if match}
    if len(numbers) < len(frames):
        return list(frames)
    if (largest := max(numbers, default=0)) > _HIGHEST_NUMBER:
        print(f"note: {largest} is too large for a frame's number: frames count from 0", file=sys.stderr)
        return list(frames)
    return [replace(frame, number=int(match[2])) for frame, match in zip(frames, found, strict=True) if match]


def _note_gaps(folder: Path, frames: Sequence[KeypointFrame]) -> None:
    """Say on stderr which numbers no frame has between the first and the last, in order."""
    spans = [(one.number + 1, other.number) for one, other in itertools.pairwise(frames) if other.number > one.number]
    count = sum(end - start for start, end in spans)
    if count:
        first = next(start for start, end in spans if end > start)
        what = "1 frame has no file" if count == 1 else f"{count} frames have no file"
        print(f"note: {folder}: {what} between the first and the last; number {first} is missing", file=sys.stderr)


def _openpose_folder(folder: Path) -> KeypointFile:
    paths = data_files(folder, ".json")
    if not paths:
        raise DiffPoseError(f"{folder}: no .json files: give the folder that OpenPose wrote with --write_json")
    paths.sort(key=lambda path: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)])
    frames = []
    for number, path in enumerate(paths):
        content = _parsed(path)
        if not isinstance(content, dict) or "people" not in content:
            raise DiffPoseError(f"{path}: no 'people', as OpenPose's files have: leave only its files in the folder")
        frames.append(_openpose(path, content, number))
    frames = _numbered(frames)
    matches = [_LAST_NUMBER.fullmatch(frame.name) for frame in frames]
    clips = {match[1] if match else frame.name for match, frame in zip(matches, frames, strict=True)}
    is_sequence = len(frames) > 1 and len(clips) == 1
    if is_sequence:
        _note_gaps(folder, frames)
    return KeypointFile(frames, is_sequence=is_sequence)


def _openpose(path: Path, content: Mapping, number: int) -> KeypointFrame:
    people = []
    entries = content["people"]
    for k, person in enumerate(entries if isinstance(entries, list) else [None]):
        where = f"{path}, person {k}"
        if not isinstance(person, dict) or "pose_keypoints_2d" not in person:
            raise DiffPoseError(f"{where}: no pose_keypoints_2d, as OpenPose's files have")
        people.append(_triples(person["pose_keypoints_2d"], f"{where}, pose_keypoints_2d"))
    return _frame(path, path.name, number, [one for one in people if len(one)])


def _frame(path: Path, name: str, number: int, people: list[np.ndarray]) -> KeypointFrame:
    counts = sorted({len(one) for one in people})
    if len(counts) > 1:
        raise DiffPoseError(f"{path}, {name}: people of {counts[0]} and of {counts[1]} keypoints: keep one layout")
    stacked = np.stack(people) if people else np.zeros((0, 0, 3))
    return KeypointFrame(name, number, stacked[..., :2], stacked[..., 2])


def _triples(values: object, where: str) -> np.ndarray:
    """x, y and confidence (K, 3) of a flat list. Raises DiffPoseError."""
    try:
        flat = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DiffPoseError(f"{where}: not a list of numbers") from None
    if flat.ndim != 1 or flat.size % 3:
        raise DiffPoseError(f"{where}: {flat.size} numbers, not three for each point: x, y, confidence")
    return flat.reshape(-1, 3)


def _parsed(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DiffPoseError(f"{path}: can't be read ({error.strerror})") from None
    except ValueError as error:
        raise DiffPoseError(f"{path}: no JSON ({error}): give {FORMATS}") from None
