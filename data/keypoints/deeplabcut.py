"""Tables of keypoints in DeepLabCut's form (.csv), which Lightning Pose writes too.

Rows above the numbers: ``scorer``, with several people ``individuals``, then ``bodyparts`` and ``coords`` (x, y and
mostly likelihood). Each row below is a frame, of a number or of a picture's name. Body parts have the names that their
users gave them; those of people are recognised.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.keypoints.layouts import LAYOUTS, Layout, layout_named
from utils.errors import DiffPoseError

_ROWS = ("scorer", "individuals", "bodyparts", "coords")
_LEAST_NAMES = 4
_ALIASES = {"head_top": ("topofhead", "tophead"), "pelvis": ("midhip", "hips")}


@dataclass(frozen=True)
class KeypointTable:
    """``points`` (F, P, K, 2) px in a layout's order, NaN where there are none; ``confidence`` (F, P, K) or None.

    ``frames``: what each row is called; ``is_sequence``: they are numbers, so a video's.
    """

    layout: Layout
    frames: list[str]
    is_sequence: bool
    points: np.ndarray
    confidence: np.ndarray | None


def read_table(path: Path, layout: str | None = None) -> KeypointTable:
    """Read a file; ``layout``: whose joints are looked for, None for the one of which most are there.

    Raises DiffPoseError for a file in another form, and for one whose body parts are not those of people.
    """
    header, rows = _rows(path)
    if not rows:
        raise DiffPoseError(f"{path}: holds no frames below its names: export it again")
    columns = _columns(path, header)
    layout_found = _layout(path, {part for _, part, _ in columns}, layout)
    places: dict[tuple[str, int], dict[str, int]] = {}
    for number, (who, part, coordinate) in enumerate(columns):
        name = joint_named(part, layout_found)
        if name is None:
            continue
        place = places.setdefault((who, layout_found.joints.index(name)), {})
        if coordinate in place:
            raise DiffPoseError(f"{path}: {name} comes twice ('{part}'): leave one of them")
        place[coordinate] = number
    people = sorted({who for who, _ in places}, key=[who for who, _, _ in columns].index)
    first = len(header[0]) - len(columns)
    values = _numbers(path, rows, first=first)  # (F, columns)
    points = np.full((len(rows), len(people), len(layout_found), 2), np.nan)
    confidence = np.zeros(points.shape[:3])
    for (who, joint), place in places.items():
        if not {"x", "y"} <= place.keys():
            raise DiffPoseError(f"{path}: no x and y of {layout_found.joints[joint]}: expected both below its name")
        points[:, people.index(who), joint] = values[:, [place["x"], place["y"]]]
        if "likelihood" in place:
            confidence[:, people.index(who), joint] = np.nan_to_num(values[:, place["likelihood"]])
    return KeypointTable(
        layout_found,
        ["/".join(row[:first]) for row in rows],
        len(rows) > 1 and all(row[0].strip().isdigit() for row in rows),
        points,
        confidence if any("likelihood" in place for place in places.values()) else None,
    )


def _rows(path: Path) -> tuple[list[list[str]], list[list[str]]]:
    """The rows of names, and those of numbers below, all of one length."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DiffPoseError(f"{path}: can't be read as a table ({' '.join(str(error).split())})") from None
    count = next((number for number, row in enumerate(rows) if row[0].strip().lower() not in _ROWS), len(rows))
    header = [[cell.strip() for cell in row] for row in rows[:count]]
    if not {"bodyparts", "coords"} <= {row[0].lower() for row in header}:
        raise DiffPoseError(f"{path}: not DeepLabCut's form: expected rows that begin with bodyparts and with coords")
    body = rows[count:]
    # pandas leaves a row for the names of the index, where it has any.
    if body and not body[0][0].strip().isdigit() and not any(cell.strip() for cell in body[0][1:]):
        body = body[1:]
    wrong = next((number for number, row in enumerate([*header, *body]) if len(row) != len(header[0])), None)
    if wrong is not None:
        raise DiffPoseError(f"{path}: row {wrong + 1} is not as long as the first one: copy or export it again")
    return header, body


def _columns(path: Path, header: list[list[str]]) -> list[tuple[str, str, str]]:
    """(individual, body part, coordinate) of each column with numbers."""
    named = {row[0].lower(): row for row in header}
    # Labelled pictures have up to three columns for their names, without a coordinate.
    first = next((k for k, cell in enumerate(named["coords"]) if cell.lower() in ("x", "y", "likelihood")), None)
    if first is None:
        raise DiffPoseError(f"{path}: no x, y and likelihood in its row of coords: not DeepLabCut's form")
    individuals = named.get("individuals", [""] * len(header[0]))
    return [
        (who, part, coordinate.lower())
        for who, part, coordinate in zip(individuals, named["bodyparts"], named["coords"], strict=True)
    ][first:]


def _numbers(path: Path, rows: list[list[str]], *, first: int) -> np.ndarray:
    """The rows' numbers (F, columns), NaN in empty cells."""
    try:
        numbers = [[float(cell) if cell.strip() else np.nan for cell in row[first:]] for row in rows]
    except ValueError as error:
        raise DiffPoseError(f"{path}: {error}: numbers are expected below the names") from None
    return np.array(numbers)


def _layout(path: Path, parts: set[str], wanted: str | None) -> Layout:
    candidates = [layout_named(wanted)] if wanted else list(LAYOUTS.values())
    counts = [sum(joint_named(part, layout) is not None for part in parts) for layout in candidates]
    if max(counts) < _LEAST_NAMES:
        raise DiffPoseError(
            f"{path}: of its body parts ({', '.join(sorted(parts))[:200]}) fewer than {_LEAST_NAMES} are joints of "
            f"{wanted or 'people'}: name them like left_shoulder, LShoulder or shoulder_left"
        )
    return candidates[counts.index(max(counts))]


def joint_named(part: str, layout: Layout) -> str | None:
    """The layout's joint that a body part's name means, such as LShoulder, shoulder_left or left shoulder; or None."""
    plain = re.sub(r"[^a-z0-9]", "", part.lower())
    for name in layout.joints:
        side, _, rest = name.partition("_")
        rest = rest.replace("_", "")
        if side in ("left", "right"):
            ways: tuple[str, ...] = (side + rest, side[0] + rest, rest + side, rest + side[0])
        else:
            ways = (name.replace("_", ""), *_ALIASES.get(name, ()))
        if plain in ways:
            return name
    return None
