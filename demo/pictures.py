"""The demo's PNG: the picture with crops, heatmaps and joints, hypotheses from two sides, and the spread of each joint.

Drawn with OpenCV alone: a plotting library takes longer to import than the poses to sample.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from demo.crops import between, cut_out
from demo.output import OTHER_OUTPUT, Row
from demo.person import Person
from utils.evaluation.consensus import GUESSED_SPREAD_MM
from utils.files import written_in_one_step
from utils.skeleton import HEATMAP_SIZE, MPII_JOINTS, Skeleton

# As in utils/evaluation/plotting.py, here as RGB.
RIGHT, LEFT, MIDDLE = (213, 94, 0), (0, 114, 178), (90, 90, 90)
GUESSED = (204, 60, 60)
CROP_COLOUR = (255, 205, 0)
PANEL = 400
BARS = 330
MAX_PEOPLE, MAX_HYPOTHESES = 6, 60
_INK, _GRID = (40, 40, 40), (232, 232, 232)
_MPII_BONES = (
    (0, 1),
    (1, 2),
    (2, 6),
    (6, 3),
    (3, 4),
    (4, 5),
    (6, 7),
    (7, 8),
    (8, 9),
    (8, 12),
    (12, 11),
    (11, 10),
    (8, 13),
    (13, 14),
    (14, 15),
)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def _text(canvas: np.ndarray, text: str, place: tuple[int, int], size: float = 0.45, colour=_INK) -> None:
    cv2.putText(canvas, text, place, _FONT, size, colour, 1, cv2.LINE_AA)


def _side_colour(name: str) -> tuple[int, int, int]:
    paired = name[0] in "RL" and name[1].isupper()
    return {"R": RIGHT, "L": LEFT}[name[0]] if paired else MIDDLE


def _bones(canvas: np.ndarray, points: np.ndarray, bones: Sequence[tuple[int, int]], names: Sequence[str], width: int):
    known = np.isfinite(points).all(axis=-1)
    fixed = np.round(np.where(known[:, None], points, 0) * 16).astype(int)
    for a, b in bones:
        if not known[[a, b]].all():
            continue
        colour = _side_colour(names[b]) if _side_colour(names[b]) != MIDDLE else _side_colour(names[a])
        cv2.line(canvas, fixed[a].tolist(), fixed[b].tolist(), colour, width, cv2.LINE_AA, shift=4)


def outline(canvas: np.ndarray, corners: np.ndarray, colour: tuple[int, int, int], width: int = 2) -> None:
    """Draw a square by its corners (4, 2), px of the canvas."""
    fixed = np.round(corners * 16).astype(np.int32)
    cv2.polylines(canvas, [fixed[:, None]], True, colour, width, cv2.LINE_AA, shift=4)


def upright_view(image: np.ndarray, person: Person, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture around a crop, as it stands, (size, size, 3), and where the crop's corners (4, 2) are in it."""
    square = person.square
    view = square.upright()
    return np.ascontiguousarray(cut_out(image, view, size)), view.to_shares(square.corners()) * size


def draw_crop(image: np.ndarray, person: Person) -> np.ndarray:
    """The picture around the crop with summed heatmaps and the detector's joints, (400, 400, 3); upright as it is."""
    crop, corners = upright_view(image, person, PANEL)
    view = person.square.upright()
    heat = np.clip(person.heatmaps, 0, 1).max(axis=0)
    # Cell (c, r) stands for the position c, r, and a resized pixel for its middle: half a pixel apart.
    heat = cv2.warpAffine(heat, between(person.square, view, HEATMAP_SIZE, PANEL), (PANEL, PANEL))
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = np.clip(heat, 0, 0.75)[..., None]
    canvas = np.ascontiguousarray((crop * (1 - weight) + colours * weight).astype(np.uint8))
    if person.angle:
        outline(canvas, corners, CROP_COLOUR, 1)
    _bones(canvas, view.to_shares(person.joints_px) * PANEL, _MPII_BONES, MPII_JOINTS, 2)
    return canvas


def draw_poses(row: Row, skeleton: Skeleton, axes: tuple[int, int], title: str) -> np.ndarray:
    """Hypotheses (thin), modes (thicker) and the consensus (thick) seen along one axis, (400, 400, 3)."""
    canvas = np.full((PANEL, PANEL, 3), 255, np.uint8)
    count = min(MAX_HYPOTHESES, len(row.hypotheses_mm))
    chosen = row.hypotheses_mm[np.linspace(0, len(row.hypotheses_mm) - 1, count).astype(int)]
    every = np.concatenate([chosen, row.consensus_mm[None]])[..., list(axes)]
    low, high = every.min((0, 1)), every.max((0, 1))
    scale = 0.86 * PANEL / max(float((high - low).max()), 1.0)
    middle = (low + high) / 2

    def place(poses: np.ndarray) -> np.ndarray:
        return PANEL / 2 + (poses[..., list(axes)] - middle) * scale * np.array([1.0, -1.0])

    step = 500.0
    for axis in (0, 1):
        for line in np.arange(np.ceil((middle[axis] - 2000) / step) * step, middle[axis] + 2000, step):
            v = round(PANEL / 2 + (line - middle[axis]) * scale * (1, -1)[axis])
            ends = ((v, 0), (v, PANEL)) if axis == 0 else ((0, v), (PANEL, v))
            cv2.line(canvas, *ends, _GRID, 1)
    layer = canvas.copy()
    for pose in place(chosen):
        _bones(layer, pose, skeleton.bones, skeleton.joints, 1)
    canvas = cv2.addWeighted(canvas, 0.55, layer, 0.45, 0)
    consensus = place(row.consensus_mm)
    _bones(canvas, consensus, skeleton.bones, skeleton.joints, 3)
    for j in np.flatnonzero(row.guessed):
        cv2.circle(canvas, np.round(consensus[j]).astype(int).tolist(), 7, GUESSED, 2, cv2.LINE_AA)
    _text(canvas, title, (8, 18))
    _text(canvas, "grid 500 mm", (PANEL - 96, PANEL - 8), 0.4, (120, 120, 120))
    return canvas


def draw_spread(row: Row, skeleton: Skeleton) -> np.ndarray:
    """A bar for each joint's spread, (400, 330, 3)."""
    canvas = np.full((PANEL, BARS, 3), 255, np.uint8)
    _text(canvas, "spread of the hypotheses (mm)", (8, 18))
    joints = range(1, skeleton.num_joints)
    top = max(float(row.spread_mm.max()), GUESSED_SPREAD_MM)
    height = (PANEL - 40) / len(joints)
    for k, j in enumerate(joints):
        y = round(32 + k * height)
        length = round((BARS - 190) * float(row.spread_mm[j]) / top)
        colour = GUESSED if row.guessed[j] else _side_colour(skeleton.joints[j])
        cv2.rectangle(canvas, (96, y), (96 + length, y + round(height * 0.6)), colour, -1)
        _text(canvas, skeleton.joints[j], (8, y + 11), 0.4)
        _text(canvas, f"{row.spread_mm[j]:.0f}" + (" guessed" if row.guessed[j] else ""), (100 + length, y + 11), 0.38)
    return canvas


def draw_picture(image: np.ndarray, rows: Sequence[Row], width: int, height: int = 520) -> np.ndarray:
    """The whole picture with everyone's crop, in the middle of a canvas of this size."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    for row in rows:
        corners = row.person.square.corners() * scale
        outline(small, corners, CROP_COLOUR)
        low = np.round(corners.min(axis=0)).astype(int)
        place = (max(int(low[0]), 0) + 5, max(int(low[1]), 0) + 18)
        _text(small, f"person {row.number}", place, 0.5, CROP_COLOUR)
        _bones(small, row.person.joints_px * scale, _MPII_BONES, MPII_JOINTS, 2)
    canvas = np.full((size[1], width, 3), 255, np.uint8)
    left = (width - size[0]) // 2
    canvas[:, left : left + size[0]] = small
    return canvas


def draw(image: np.ndarray, rows: Sequence[Row], skeleton: Skeleton) -> np.ndarray:
    """The whole figure of one frame, RGB uint8."""
    lines = []
    for row in rows[:MAX_PEOPLE]:
        crop = draw_crop(image, row.person)
        _text(crop, f"person {row.number}: heatmaps and joints", (8, 18), 0.45, (255, 255, 255))
        front = draw_poses(row, skeleton, (0, 1), f"{len(row.hypotheses_mm)} hypotheses, from the camera")
        side = draw_poses(row, skeleton, (2, 1), "from the side (camera to the right)")
        lines.append(np.hstack([crop, front, side, draw_spread(row, skeleton)]))
    top = draw_picture(image, rows, lines[0].shape[1])
    foot = np.full((28, lines[0].shape[1], 3), 255, np.uint8)
    _text(foot, "right", (10, 18), 0.45, RIGHT)
    _text(foot, "left", (56, 18), 0.45, LEFT)
    _text(
        foot,
        "thick: consensus of the hypotheses; circles: guessed joints; an average body's size unless a height is given",
        (100, 18),
    )
    return np.vstack([top, *lines, foot])


def save_png(path: Path, picture: np.ndarray) -> None:
    """Write an RGB picture. Raises DiffPoseError when that fails."""
    ok, data = cv2.imencode(".png", picture[..., ::-1])
    with written_in_one_step(path, way_out=OTHER_OUTPUT) as partial:
        if not ok:
            raise OSError(0, "the picture can't be encoded")
        partial.write_bytes(data.tobytes())
