"""Who hides whom: capsules around the bones, an object in front, and the picture's edge."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.synthetic.bodies import Body
from data.synthetic.cameras import Camera, RowCameras

VISIBLE, BEHIND_BODY, BEHIND_OBJECT, OUTSIDE = 0, 1, 2, 3
"""Why a joint is not seen; :data:`VISIBLE` when it is."""

# Joints recorded beside the 17: fingertips and toes, made from these.
_HAND_TIPS = ((12, 13), (15, 16))
_TOES = ((3, 2), (6, 5))
HAND_SHARE, FOOT_SHARE = 0.62, 0.48

# Positions of the 17 joints among the 32 that Human3.6M's recordings hold, and which of our 21 fills each of the 32.
H36M_17_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
_OURS_OF_32 = (
    0,
    1,
    2,
    3,
    19,
    19,
    4,
    5,
    6,
    20,
    20,
    0,
    7,
    8,
    9,
    10,
    8,
    11,
    12,
    13,
    13,
    17,
    17,
    17,
    8,
    14,
    15,
    16,
    16,
    18,
    18,
    18,
)
RIGHT_TOE, LEFT_TOE, LEFT_HAND, RIGHT_HAND = 19, 20, 17, 18

# Part, its two ends among the 21 joints, and the joints that lie in it and so are not hidden by it.
_CAPSULES = (
    ("thigh", 1, 2, (0, 1, 2)),
    ("thigh", 4, 5, (0, 4, 5)),
    ("shank", 2, 3, (2, 3)),
    ("shank", 5, 6, (5, 6)),
    ("foot", 3, RIGHT_TOE, (3,)),
    ("foot", 6, LEFT_TOE, (6,)),
    ("torso", 0, 7, (0, 7, 8)),
    ("torso", 7, 8, (0, 7, 8)),
    ("flank", 4, 11, (0, 4, 7, 8, 11)),
    ("flank", 1, 14, (0, 1, 7, 8, 14)),
    ("neck", 8, 9, (8, 9, 10, 11, 14)),
    ("head", 9, 10, (8, 9, 10)),
    ("upper_arm", 11, 12, (11, 12)),
    ("upper_arm", 14, 15, (14, 15)),
    ("forearm", 12, 13, (12, 13)),
    ("forearm", 15, 16, (15, 16)),
    ("hand", 13, LEFT_HAND, (13,)),
    ("hand", 16, RIGHT_HAND, (16,)),
)
# A line of sight is hidden only by what lies at least this far in front of the joint, mm.
_IN_FRONT = 40.0


@dataclass(frozen=True)
class Panel:
    """An upright object between camera and subject: a rectangle that faces the camera.

    centre: (2,) on the floor, mm; half_width, low, high: mm.
    """

    centre: np.ndarray
    half_width: float
    low: float
    high: float


@dataclass(frozen=True)
class RowPanels:
    """An object for each row, as :class:`Panel` with a leading axis F; a ``half_width`` below 0 stands for none."""

    centre: np.ndarray
    half_width: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, panels: Sequence[Panel | None]) -> "RowPanels":
        """The panels of rows that may have none."""
        none = Panel(centre=np.zeros(2), half_width=-1.0, low=0.0, high=0.0)
        parts = ("centre", "half_width", "low", "high")
        return cls(**{part: np.array([getattr(panel or none, part) for panel in panels]) for part in parts})


@dataclass(frozen=True)
class Visibility:
    """What a row's camera sees of each joint.

    reason: (F, 17) one of the constants above; depth: (F, 17) in 0..1, how far inside the occluder's outline the line
    of sight runs; place_mm: (F, 17, 3) the occluder's point that hides the joint, in the world (the joint if seen).
    """

    reason: np.ndarray
    depth: np.ndarray
    place_mm: np.ndarray


def add_extremities(joints_mm: np.ndarray) -> np.ndarray:
    """World joints (F, 17, 3) -> (F, 21, 3): left and right fingertips, right and left toes follow."""
    hands = [
        joints_mm[:, wrist] + HAND_SHARE * (joints_mm[:, wrist] - joints_mm[:, elbow]) for elbow, wrist in _HAND_TIPS
    ]
    across = joints_mm[:, 4] - joints_mm[:, 1]
    forward = np.cross(across, joints_mm[:, 8] - joints_mm[:, 0])
    toes = []
    for ankle, knee in _TOES:
        shank = joints_mm[:, ankle] - joints_mm[:, knee]
        length = np.linalg.norm(shank, axis=-1, keepdims=True)
        # The foot stands square to the shank, towards the front of the pelvis.
        along = forward - np.sum(forward * shank, axis=-1, keepdims=True) * shank / length**2
        along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
        toes.append(joints_mm[:, ankle] + FOOT_SHARE * length * along)
    return np.concatenate([joints_mm, np.stack(hands + toes, axis=1)], axis=1)


def recorded_joints(points: np.ndarray) -> np.ndarray:
    """The 21 joints of :func:`add_extremities` (F, 21, D) -> the 32 of Human3.6M's recordings (F, 32, D)."""
    return points[:, _OURS_OF_32]


def draw_panel(generator: np.random.Generator, camera: Camera, middle_mm: np.ndarray) -> Panel:
    """A chair's back, a table or a post in front of a subject who stays near ``middle_mm`` (3,)."""
    share = generator.uniform(0.62, 0.84)
    towards = (middle_mm - camera.position)[:2]
    aside = np.array([-towards[1], towards[0]]) / np.linalg.norm(towards)
    centre = camera.position[:2] + share * towards + generator.uniform(-330, 330) * aside
    kind = generator.integers(3)
    if kind == 0:
        return Panel(centre=centre, half_width=generator.uniform(50, 110), low=0.0, high=2300.0)
    if kind == 1:
        return Panel(centre=centre, half_width=generator.uniform(320, 700), low=0.0, high=generator.uniform(480, 780))
    return Panel(centre=centre, half_width=generator.uniform(160, 260), low=300.0, high=generator.uniform(780, 1050))


def _hidden_by_panel(panels: RowPanels, cameras: RowCameras, joints_mm: np.ndarray) -> np.ndarray:
    """Whether each joint (F, J, 3) lies behind its row's panel: (F, J)."""
    normal = panels.centre - cameras.position[:, :2]
    reach = np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1.0)
    normal = normal / reach
    position = cameras.position[:, None]
    ray = joints_mm - position
    ahead = np.einsum("fjd,fd->fj", ray[..., :2], normal)
    crossing = position + ray * (reach / np.maximum(ahead, 1.0))[..., None]
    sideways = np.stack([-normal[:, 1], normal[:, 0]], axis=-1)
    aside = np.einsum("fjd,fd->fj", crossing[..., :2] - panels.centre[:, None], sideways)
    height = crossing[..., 2]
    inside = (height > panels.low[:, None]) & (height < panels.high[:, None])
    return inside & (np.abs(aside) < panels.half_width[:, None]) & (ahead > reach + _IN_FRONT)


def _sight_to_axis(camera_mm: np.ndarray, joints_mm: np.ndarray, start: np.ndarray, end: np.ndarray):
    """Distance of lines of sight to capsule axes start-end (F, C, 3): (F, J, C), and the nearest axis points.

    camera_mm: (F, 3). Only the part of the line from the camera to :data:`_IN_FRONT` before the joint (F, J, 3) counts.
    """
    camera_mm = camera_mm[:, None]
    sight = (joints_mm - camera_mm)[:, :, None]  # (F, J, 1, 3)
    length = np.linalg.norm(sight, axis=-1)
    last = 1.0 - _IN_FRONT / length
    axis = (end - start)[:, None]  # (F, 1, C, 3)
    offset = camera_mm[:, None] - start[:, None]
    aa, ee = np.sum(sight * sight, axis=-1), np.maximum(np.sum(axis * axis, axis=-1), 1e-6)
    ab = np.sum(sight * axis, axis=-1)
    ac, ef = np.sum(sight * offset, axis=-1), np.sum(axis * offset, axis=-1)
    along = np.clip((ab * ef - ac * ee) / np.maximum(aa * ee - ab * ab, 1e-6), 0.0, last)
    share = np.clip((ab * along + ef) / ee, 0.0, 1.0)
    along = np.clip((ab * share - ac) / aa, 0.0, last)
    place = start[:, None] + share[..., None] * axis
    distance = np.linalg.norm(offset + along[..., None] * sight - share[..., None] * axis, axis=-1)
    return distance, place


def capsule_radii(body: Body) -> np.ndarray:
    """How thick a body's capsules are, mm: (1, C), or (F, C) for a body of each pose's own."""
    return np.atleast_2d(np.stack([body.radius(capsule[0]) for capsule in _CAPSULES], axis=-1))


def see(joints_mm: np.ndarray, camera: Camera, body: Body, panel: Panel | None = None) -> Visibility:
    """Which of the joints (F, 21, 3) of :func:`add_extremities` the camera sees, for the first 17."""
    count = len(joints_mm)
    return see_rows(joints_mm, RowCameras.same(camera, count), capsule_radii(body), RowPanels.of([panel] * count))


def see_rows(joints_mm: np.ndarray, cameras: RowCameras, radius: np.ndarray, panels: RowPanels) -> Visibility:
    """Which of the joints (F, 21, 3) of :func:`add_extremities` each row's camera sees, for the first 17.

    radius: see :func:`capsule_radii`.
    """
    own = joints_mm[:, :17]
    start = joints_mm[:, [capsule[1] for capsule in _CAPSULES]]
    end = joints_mm[:, [capsule[2] for capsule in _CAPSULES]]
    distance, place = _sight_to_axis(cameras.position, own, start, end)
    depth = 1.0 - distance / radius[:, None]  # (F, 17, C)
    for number, capsule in enumerate(_CAPSULES):
        depth[:, capsule[3], number] = 0.0
    deepest = depth.argmax(axis=-1)
    depth = np.clip(np.take_along_axis(depth, deepest[..., None], axis=-1)[..., 0], 0.0, 1.0)
    place = np.take_along_axis(place, deepest[..., None, None], axis=2)[:, :, 0]
    reason = np.where(depth > 0.0, BEHIND_BODY, VISIBLE)
    reason = np.where(_hidden_by_panel(panels, cameras, own), BEHIND_OBJECT, reason)
    pixels = cameras.project(cameras.to_camera(own))
    inside = (pixels >= 0) & (pixels < cameras.size[:, None])
    reason = np.where(inside.all(axis=-1), reason, OUTSIDE)
    place = np.where((reason == BEHIND_BODY)[..., None], place, own)
    return Visibility(reason=reason.astype(np.uint8), depth=depth, place_mm=place)
