"""From a motion file to a take: the 17 Human3.6M joints in mm, z up, floor at 0, every fourth frame of 50 Hz video."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from data.preprocessing.motion_capture.body import LEG_SHARE, check_body, check_bones, floor_height, positions_hint
from data.preprocessing.motion_capture.bvh import BvhMotion, read_bvh
from data.preprocessing.motion_capture.deepmimic import is_deepmimic, read_deepmimic
from data.preprocessing.motion_capture.joint_names import map_joints
from data.preprocessing.validation.anatomy import STATURE_RANGE_MM, stretched_stature
from utils.errors import DiffPoseError
from utils.skeleton import H36M17

UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4, "cmu": 25.4 / 0.45}
"""Name of a unit -> mm. ``cmu`` is that of the CMU database's usual conversions: 1/0.45 inch, 56.4 mm."""
VIDEO_RATE = 50.0
# Shares of the lengths hips to thorax and thorax to head top at which Human3.6M's spine and neck joints lie.
_SPINE_SHARE, _NECK_SHARE = 0.48, 0.51
_HEAD_SHARE = 0.12
_HEAD_RANGE = (0.05, 0.19)


@dataclass(frozen=True)
class TakeOptions:
    """How files are to be understood; see the options of mocap.py.

    ``unit`` is "auto" or a name of :data:`UNITS_MM`; ``up`` is "y", "z", or None: y, if people stand upright along it.
    """

    unit: str = "auto"
    up: str | None = None
    every: int = 4
    mirror: bool = False
    mapping: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Take:
    """joints_mm: (F, 17, 3) float32 in the world; frames: (F,) numbers in the 50 Hz video; what was found out."""

    path: Path
    joints_mm: np.ndarray
    frames: np.ndarray
    unit: str
    stature_mm: float
    frame_rate: float
    head_top: str
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """The facts in one line."""
        return (
            f"{self.path}: {len(self.frames)} poses of {self.frame_rate:.4g} Hz, unit {self.unit}, "
            f"stature {self.stature_mm / 1000:.2f} m, head top {self.head_top}"
        )


def load_take(path: str | Path, options: TakeOptions) -> Take:
    """Read, convert and check one file.

    A DeepMimic clip is told by its content; it states its own unit, axes and names, so the options for them do not
    apply to it. Raises DiffPoseError for a file that its reader refuses, for joints that are not found, and for a body
    that is no upright human with its left on the left under the options: the message names the option to change.
    """
    if is_deepmimic(path):
        motion = read_deepmimic(path)
        options = replace(options, unit="m", up="y", mirror=False, mapping=None)
    else:
        motion = read_bvh(path)
    parts = map_joints(motion, options.mapping)
    frames, numbers = video_frames(motion.num_frames, motion.frame_time, options.every)
    raw = motion.positions(frames)
    raw = to_z_up(raw, options.up or "y", mirror=options.mirror)
    joints, head_top = h36m_joints(raw, motion, parts)
    unit, stature = _find_unit(joints, options.unit, motion, parts)
    joints, raw = joints * UNITS_MM[unit], raw * UNITS_MM[unit]
    check_bones(joints, motion, parts)
    check_body(joints, raw, motion, parts, up=options.up)
    joints[..., 2] -= floor_height(raw, motion, parts, stature)
    return Take(
        path=motion.path,
        joints_mm=joints.astype(np.float32),
        frames=numbers,
        unit=unit,
        stature_mm=stature,
        frame_rate=1 / motion.frame_time,
        head_top=head_top,
        notes=motion.notes,
    )


def video_frames(num_frames: int, frame_time: float, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the file and their numbers in a 50 Hz video, every ``every``-th of it as in Human3.6M (3, 7, 11, ..).

    The nearest recorded frame stands for a video frame, so that no pose is invented and bones keep their lengths; a
    frame that is nearest to several stands for the first of them only.
    """
    duration = (num_frames - 1) * frame_time
    numbers = np.arange(every - 1, int(duration * VIDEO_RATE + 1e-6) + 1, every)
    if not len(numbers):
        numbers = np.array([0])
    nearest = np.minimum(np.rint(numbers / VIDEO_RATE / frame_time).astype(np.int64), num_frames - 1)
    frames, first = np.unique(nearest, return_index=True)
    return frames, numbers[first].astype(np.int32)


def to_z_up(points: np.ndarray, up: str, *, mirror: bool) -> np.ndarray:
    """Points (.., 3) of a right-handed file with ``up`` "y" or "z" -> z up; ``mirror`` for a left-handed file."""
    x, y, z = np.moveaxis(points, -1, 0)
    x = -x if mirror else x
    return np.stack([x, -z, y] if up == "y" else [x, y, z], axis=-1)


def h36m_joints(points: np.ndarray, motion: BvhMotion, parts: Mapping[str, int]) -> tuple[np.ndarray, str]:
    """All joints (F, N, 3) -> Human3.6M's (F, 17, 3), and where the head's top comes from.

    Hip is the middle of both hip joints, Thorax the neck's base (or the middle of both shoulders). Spine and Neck lie
    at fixed shares of the way from Hip to Thorax along the spine, and from Thorax through the head joint to the top.
    """
    limb = {part: points[:, number] for part, number in parts.items()}
    hip = (limb["left_hip"] + limb["right_hip"]) / 2
    shoulders = (limb["left_shoulder"] + limb["right_shoulder"]) / 2
    thorax = limb.get("neck", shoulders)
    spine = []
    if "neck" in parts:
        # Joints that carry both the neck and the hips are the root and what lies below it: not yet spine.
        below = set(motion.ancestors(parts["left_hip"])) | {parts["left_hip"]}
        spine = [points[:, number] for number in reversed(motion.ancestors(parts["neck"])) if number not in below]
    top, head_top = _head_top(points, motion, parts, hip, thorax, limb)
    head = [limb["head"]] if "head" in limb else []
    order = [
        hip,
        limb["right_hip"],
        limb["right_knee"],
        limb["right_ankle"],
        limb["left_hip"],
        limb["left_knee"],
        limb["left_ankle"],
        _along([hip, *spine, thorax], _SPINE_SHARE),
        thorax,
        _along([thorax, *head, top], _NECK_SHARE),
        top,
        limb["left_shoulder"],
        limb["left_elbow"],
        limb["left_wrist"],
        limb["right_shoulder"],
        limb["right_elbow"],
        limb["right_wrist"],
    ]
    return np.stack(order, axis=1), head_top


def _along(points: list[np.ndarray], share: float) -> np.ndarray:
    """The point (F, 3) at a share of the way along a chain of points (F, 3): always on the same segment of it."""
    lengths = [float(np.median(np.linalg.norm(b - a, axis=-1))) for a, b in pairwise(points)]
    rest = share * sum(lengths)
    for start, end, length in zip(points, points[1:], lengths, strict=False):
        if rest <= length and length > 0:
            return start + (rest / length) * (end - start)
        rest -= length
    return points[-1]


def _head_top(
    points: np.ndarray, motion: BvhMotion, parts: Mapping[str, int], hip: np.ndarray, thorax: np.ndarray, limb: dict
) -> tuple[np.ndarray, str]:
    """The named joint; else the highest end below the head, if it is a head's length away; else extrapolated."""
    if "head_top" in parts:
        return limb["head_top"], f"'{motion.joints[parts['head_top']].name}'"
    base = limb.get("head", thorax)
    leg = np.median(np.linalg.norm(limb["left_hip"] - limb["left_knee"], axis=-1)) + np.median(
        np.linalg.norm(limb["left_knee"] - limb["left_ankle"], axis=-1)
    )
    stature = leg / LEG_SHARE
    towards = base - thorax if "head" in limb and "neck" in limb else base - hip
    towards = towards / np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-9)
    best, reach = None, 0.0
    for leaf in motion.leaves_below(parts["head" if "head" in parts else "neck"]):
        rise = float(np.median(np.sum((points[:, leaf] - base) * towards, axis=-1)))
        if rise > reach:
            best, reach = leaf, rise
    if best is not None:
        offset = float(np.median(np.linalg.norm(points[:, best] - base, axis=-1)))
        whole = offset if "head" in limb else offset / 2
        if _HEAD_RANGE[0] * stature <= whole <= _HEAD_RANGE[1] * stature and reach > 0.6 * offset:
            return points[:, best], f"'{motion.joints[best].name}'"
    length = _HEAD_SHARE * stature * (1.0 if "head" in limb else 1.8)
    return base + length * towards, "extrapolated"


def _find_unit(joints: np.ndarray, unit: str, motion: BvhMotion, parts: Mapping[str, int]) -> tuple[str, float]:
    """The unit's name and the body's stature in mm."""
    path = motion.path
    size = stretched_stature(joints, H36M17)
    low, high = STATURE_RANGE_MM
    if unit != "auto":
        stature = size * UNITS_MM[unit]
        if not 0.5 * low <= stature <= 1.5 * high:
            raise DiffPoseError(f"{path}: in {unit} the body would be {stature / 1000:.3g} m tall: change --unit")
        return unit, stature
    for name, length in UNITS_MM.items():
        if low <= size * length <= high:
            return name, size * length
    raise DiffPoseError(
        f"{path}: the body is {size:.4g} units tall, which no unit of {', '.join(UNITS_MM)} makes a human "
        f"({low / 1000:g}-{high / 1000:g} m){positions_hint(motion, parts.values()) or ': state it by --unit'}"
    )
