"""The orders in which 2D detectors and data sets give their keypoints.

A layout is a list of names, the same name for the same place on the body in all of them. Which joints of the lifter a
name stands for is said in :mod:`data.keypoints.joints`. The tests hold the orders against each format's documentation.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from utils.errors import DiffPoseError

_COCO = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
_LEFT_FOOT = ("left_big_toe", "left_small_toe", "left_heel")
_RIGHT_FOOT = ("right_big_toe", "right_small_toe", "right_heel")
_WHOLE_BODY = (
    *_COCO,
    *_LEFT_FOOT,
    *_RIGHT_FOOT,
    *(f"face_{number}" for number in range(68)),
    *(f"left_hand_{number}" for number in range(21)),
    *(f"right_hand_{number}" for number in range(21)),
)
_HALPE = (
    *_COCO,
    *("head_top", "neck", "pelvis"),
    *("left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel"),
)
_BODY_25 = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
    *_LEFT_FOOT,
    *_RIGHT_FOOT,
)
# MPII's thorax lies between the shoulders, where others have their neck; its upper neck is between neck and head.
_MPII = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("pelvis", "neck", "upper_neck", "head_top"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
)
_H36M = (
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("spine", "thorax", "face", "head_top"),
    *("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
)
_BLAZEPOSE = (
    *("nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer"),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_pinky", "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("left_heel", "right_heel", "left_foot_index", "right_foot_index"),
)
_HEEL = "heel"


@dataclass(frozen=True)
class Layout:
    """``joints``: the names of its K keypoints, in order; ``title``: what people call it."""

    name: str
    title: str
    joints: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def in_crop(self) -> tuple[int, ...]:
        """The keypoints that a crop is made around: all but the heels, which Human3.6M's recordings do not hold."""
        return tuple(number for number, name in enumerate(self.joints) if not name.endswith(_HEEL))

    @property
    def has_hands(self) -> bool:
        """Whether it has points beyond the wrists."""
        return any(name.startswith(("left_hand", "left_index")) for name in self.joints)

    @property
    def has_toes(self) -> bool:
        """Whether it has points in front of the ankles."""
        return any(name in ("left_big_toe", "left_foot_index") for name in self.joints)


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            Layout("coco17", "COCO, 17 keypoints", _COCO),
            Layout("wholebody133", "COCO-WholeBody, 133 keypoints", _WHOLE_BODY),
            Layout("halpe26", "Halpe, 26 keypoints", _HALPE),
            Layout("body25", "OpenPose's BODY_25", _BODY_25),
            Layout("mpii16", "MPII, 16 joints", _MPII),
            Layout("h36m17", "Human3.6M, 17 joints", _H36M),
            Layout("blazepose33", "BlazePose (MediaPipe Pose), 33 landmarks", _BLAZEPOSE),
        )
    }
)
"""Name on the command line -> :class:`Layout`."""

# Other ways of writing a name, without regard to case and punctuation.
_ALIASES = MappingProxyType(
    {
        "coco": "coco17",
        "wholebody": "wholebody133",
        "cocowholebody": "wholebody133",
        "cocowholebody133": "wholebody133",
        "halpe": "halpe26",
        "openpose": "body25",
        "openpose25": "body25",
        "mpii": "mpii16",
        "h36m": "h36m17",
        "human36m": "h36m17",
        "human36m17": "h36m17",
        "blazepose": "blazepose33",
        "mediapipe": "blazepose33",
    }
)


def layout_named(name: str) -> Layout:
    """The layout of a name such as ``coco17``, ``COCO-17`` or ``BODY_25``. Raises DiffPoseError for another one."""
    plain = re.sub(r"[^a-z0-9]", "", str(name).lower())
    found = LAYOUTS.get(_ALIASES.get(plain, plain))
    if found is None:
        raise DiffPoseError(f"unknown layout '{name}': it is one of {', '.join(LAYOUTS)}")
    return found


def layout_of_size(count: int, where: str) -> Layout:
    """The layout that has ``count`` keypoints; of the two with 17, COCO's. Raises DiffPoseError, naming ``where``."""
    for layout in LAYOUTS.values():
        if len(layout) == count:
            return layout
    sizes = ", ".join(f"{name} ({len(layout)})" for name, layout in LAYOUTS.items())
    raise DiffPoseError(f"{where}: {count} keypoints, which no layout has: the layouts are {sizes}")
