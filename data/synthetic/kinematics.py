"""Joint angles -> the 17 Human3.6M joints, with human ranges of motion, and two-bone inverse kinematics.

The world is right-handed with z up, the floor at z = 0, millimetres. A body at yaw 0 faces +x; its left is +y. Angles
are degrees. Torso joints turn by (flexion, side bend, twist): positive is forward, to the left, to the left. An arm is
(elevation, plane, rotation, elbow): 0 hangs down; plane 0 lifts it sideways, 90 forward; rotation is positive inwards.
A leg is (flexion, abduction, rotation, knee): rotation is positive outwards. Left and right are mirror images.
"""

from functools import reduce

import numpy as np

from data.synthetic.bodies import Body

SIDES = {"left": 1.0, "right": -1.0}
TORSO_LIMITS = {
    "pelvis": ((-60, 80), (-35, 35), (-np.inf, np.inf)),
    "lumbar": ((-15, 45), (-20, 20), (-15, 15)),
    "chest": ((-15, 35), (-20, 20), (-35, 35)),
    "neck": ((-45, 45), (-30, 30), (-60, 60)),
    "head": ((-25, 25), (-15, 15), (-20, 20)),
}
ARM_LIMITS = ((-55, 170), (-60, 140), (-100, 110), (2, 148))
LEG_LIMITS = ((-30, 135), (-30, 60), (-50, 80), (2, 155))

UP = np.array([0.0, 0.0, 1.0])


def rotation(axis: str, degrees: np.ndarray) -> np.ndarray:
    """Rotation matrices (F, 3, 3) about the x, y or z axis by angles (F,) in degrees."""
    angle = np.radians(np.asarray(degrees, dtype=np.float64))
    cos, sin = np.cos(angle), np.sin(angle)
    fixed, first, second = {"x": (0, 1, 2), "y": (1, 2, 0), "z": (2, 0, 1)}[axis]
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., fixed, fixed] = 1.0
    matrix[..., first, first] = matrix[..., second, second] = cos
    matrix[..., first, second] = -sin
    matrix[..., second, first] = sin
    return matrix


def turn(frame: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Vectors (F, 3) or (3,) of a local frame (F, 3, 3) in the world: (F, 3)."""
    return np.einsum("fij,fj->fi", frame, np.broadcast_to(vector, (len(frame), 3)))


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def sines(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine, each (K, F), of angles (F, K) in degrees."""
    angle = np.radians(np.asarray(degrees, dtype=np.float64)).T
    return np.sin(angle), np.cos(angle)


def torso_rotation(angles: np.ndarray) -> np.ndarray:
    """(F, 3) flexion, side bend, twist -> rotation matrices (F, 3, 3): about x by -side, then y, then z."""
    (sy, sx, sz), (cy, cx, cz) = sines(angles)
    sx = -sx
    matrix = np.empty((len(angles), 3, 3))
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 0, 2] = cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx
    matrix[:, 1, 0], matrix[:, 1, 1], matrix[:, 1, 2] = sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx
    matrix[:, 2, 0], matrix[:, 2, 1], matrix[:, 2, 2] = -sy, cy * sx, cy * cx
    return matrix


def two_bone(target: np.ndarray, pole: np.ndarray, first, second, max_bend: float):
    """Directions (F, 3) of two bones whose end reaches ``target`` (F, 3), the middle joint towards ``pole``.

    first, second: the bones' lengths in mm, numbers or (F,), each row then has its own.
    A target out of reach, or nearer than a bend of ``max_bend`` degrees allows, is approached as far as possible.
    """
    first, second = (np.asarray(length, dtype=np.float64).reshape(-1, 1) for length in (first, second))
    nearest = np.sqrt(first**2 + second**2 + 2 * first * second * np.cos(np.radians(max_bend)))
    distance = np.clip(np.linalg.norm(target, axis=-1, keepdims=True), nearest, 0.9995 * (first + second))
    along = unit(target)
    aside = unit(pole - np.sum(pole * along, axis=-1, keepdims=True) * along)
    cos = np.clip((first**2 + distance**2 - second**2) / (2 * first * distance), -1.0, 1.0)
    middle = first * (cos * along + np.sqrt(1 - cos**2) * aside)
    return middle / first, unit(distance * along - middle)


def arm_directions(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, 4) angles -> directions (F, 3) of upper arm and forearm in the chest's frame, for a left arm.

    The arm turns about z by plane - rotation, about x by the elevation, about z by -plane.
    """
    (se, sp, _, sk), (ce, cp, _, ck) = sines(angles)
    turned = np.radians(angles[:, 1] - angles[:, 2])
    ahead, aside = sk * np.cos(turned), sk * np.sin(turned)
    aside, up = ce * aside + se * ck, se * aside - ce * ck
    upper = np.stack([sp * se, cp * se, -ce], axis=-1)
    return upper, np.stack([cp * ahead + sp * aside, cp * aside - sp * ahead, up], axis=-1)


def arm_angles(upper: np.ndarray, fore: np.ndarray) -> np.ndarray:
    """The inverse of :func:`arm_directions`: (F, 4)."""
    elevation = np.degrees(np.arccos(np.clip(-upper[:, 2], -1, 1)))
    plane = np.degrees(np.arctan2(upper[:, 0], upper[:, 1]))
    # Far behind the shoulder's range the same direction is reached by a negative elevation.
    behind = plane < ARM_LIMITS[1][0]
    elevation, plane = np.where(behind, -elevation, elevation), np.where(behind, plane + 180, plane)
    (se, sp), (ce, cp) = sines(np.stack([elevation, plane], axis=-1))
    ahead = cp * fore[:, 0] - sp * fore[:, 1]
    aside = ce * (sp * fore[:, 0] + cp * fore[:, 1]) + se * fore[:, 2]
    inward = plane - np.degrees(np.arctan2(aside, ahead))
    elbow = np.degrees(np.arccos(np.clip(np.sum(upper * fore, axis=-1), -1, 1)))
    return np.stack([elevation, plane, (inward + 180) % 360 - 180, elbow], axis=-1)


def leg_directions(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, 4) angles -> directions (F, 3) of thigh and shank in the pelvis's frame, for a left leg.

    The leg turns about z by the rotation, about x by the abduction, about y by -flexion.
    """
    (sf, sa, sr, sk), (cf, ca, cr, ck) = sines(angles)
    behind, inside = -sk * cr, -sk * sr
    outside, up = ca * inside + sa * ck, sa * inside - ca * ck
    thigh = np.stack([sf * ca, sa, -cf * ca], axis=-1)
    return thigh, np.stack([cf * behind - sf * up, outside, sf * behind + cf * up], axis=-1)


def leg_angles(thigh: np.ndarray, shank: np.ndarray) -> np.ndarray:
    """The inverse of :func:`leg_directions`: (F, 4)."""
    abduction = np.degrees(np.arcsin(np.clip(thigh[:, 1], -1, 1)))
    flexion = np.degrees(np.arctan2(thigh[:, 0], -thigh[:, 2]))
    (sa, sf), (ca, cf) = sines(np.stack([abduction, flexion], axis=-1))
    ahead = cf * shank[:, 0] + sf * shank[:, 2]
    outside = ca * shank[:, 1] + sa * (cf * shank[:, 2] - sf * shank[:, 0])
    knee = np.degrees(np.arccos(np.clip(np.sum(thigh * shank, axis=-1), -1, 1)))
    outward = np.where(knee > 1e-3, np.degrees(np.arctan2(-outside, -ahead)), 0.0)
    return np.stack([flexion, abduction, outward, knee], axis=-1)


def clip_angles(angles: np.ndarray, limits: tuple) -> np.ndarray:
    low, high = np.array(limits, dtype=np.float64).T
    return np.clip(angles, low, high)


class Motion:
    """A body's joint angles over time, set piece by piece; :meth:`joints` turns them into positions.

    pelvis_mm: (frames, 3) position of the hip centre in the world. torso[name]: (frames, 3); arm[side], leg[side]:
    (frames, 4), degrees. Limits of human motion hold whatever is set.
    """

    def __init__(self, body: Body, frames: int):
        self.body = body
        self.frames = frames
        self.pelvis_mm = np.zeros((frames, 3))
        self.torso = {name: np.zeros((frames, 3)) for name in TORSO_LIMITS}
        self.arm = {side: np.tile([8.0, 40.0, 10.0, 15.0], (frames, 1)) for side in SIDES}
        self.leg = {side: np.tile([0.0, 3.0, 5.0, 4.0], (frames, 1)) for side in SIDES}

    def frame_of(self, part: str) -> np.ndarray:
        """Rotation (frames, 3, 3) of pelvis, lumbar, chest, neck or head in the world."""
        chain = list(TORSO_LIMITS)[: list(TORSO_LIMITS).index(part) + 1]
        return reduce(np.matmul, (torso_rotation(clip_angles(self.torso[name], TORSO_LIMITS[name])) for name in chain))

    def trunk_points(self) -> dict[str, np.ndarray]:
        """Positions (frames, 3) in mm of hips, spine, thorax, nose, head and shoulders."""
        length = self.body.segments
        points = {"hip": self.pelvis_mm}
        points["spine"] = self.pelvis_mm + turn(self.frame_of("lumbar"), length["lumbar"] * UP)
        chest = self.frame_of("chest")
        points["thorax"] = points["spine"] + turn(chest, length["thoracic"] * UP)
        nose = length["neck"] * unit(np.array([0.45, 0.0, 1.0]))
        points["nose"] = points["thorax"] + turn(self.frame_of("neck"), nose)
        top = length["head"] * unit(np.array([-0.25, 0.0, 1.0]))
        points["head"] = points["nose"] + turn(self.frame_of("head"), top)
        for side, sign in SIDES.items():
            shoulder = length["clavicle"] * unit(np.array([-0.05, sign, -0.16]))
            points[f"{side} shoulder"] = points["thorax"] + turn(chest, shoulder)
            points[f"{side} hip"] = self.pelvis_mm + turn(self.frame_of("pelvis"), sign * length["hip"] * np.eye(3)[1])
        return points

    def leg_points(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Knee and ankle (frames, 3), mm."""
        thigh, shank = leg_directions(clip_angles(self.leg[side], LEG_LIMITS))
        frame, mirror = self.frame_of("pelvis"), np.array([1.0, SIDES[side], 1.0])
        start = self.pelvis_mm + turn(frame, SIDES[side] * self.body.segments["hip"] * np.eye(3)[1])
        knee = start + self.body.segments["thigh"] * turn(frame, thigh * mirror)
        return knee, knee + self.body.segments["shank"] * turn(frame, shank * mirror)

    def arm_points(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Elbow and wrist (frames, 3), mm."""
        upper, fore = arm_directions(clip_angles(self.arm[side], ARM_LIMITS))
        frame, mirror = self.frame_of("chest"), np.array([1.0, SIDES[side], 1.0])
        elbow = self.trunk_points()[f"{side} shoulder"] + self.body.segments["upper_arm"] * turn(frame, upper * mirror)
        return elbow, elbow + self.body.segments["forearm"] * turn(frame, fore * mirror)

    def reach(self, side: str, target_mm: np.ndarray, elbow=(-0.3, 0.6, -1.0)) -> None:
        """Set the arm's angles so that the wrist goes to ``target_mm`` (frames, 3) in the world.

        elbow: where the elbow points, as (forward, outward, up) in the chest's frame.
        """
        frame, mirror = self.frame_of("chest"), np.array([1.0, SIDES[side], 1.0])
        offset = target_mm - self.trunk_points()[f"{side} shoulder"]
        local = np.einsum("fji,fj->fi", frame, offset) * mirror
        length = self.body.segments
        pole = np.broadcast_to(np.asarray(elbow, dtype=np.float64), local.shape)
        directions = two_bone(local, pole, length["upper_arm"], length["forearm"], ARM_LIMITS[3][1])
        self.arm[side] = clip_angles(arm_angles(*directions), ARM_LIMITS)

    def step_to(self, side: str, ankle_mm: np.ndarray, knee=(1.0, 0.15, 0.0)) -> None:
        """Set the leg's angles so that the ankle goes to ``ankle_mm`` (frames, 3) in the world.

        knee: where the knee points, as (forward, outward, up) in the pelvis's frame.
        """
        frame, sign = self.frame_of("pelvis"), SIDES[side]
        start = self.pelvis_mm + turn(frame, sign * self.body.segments["hip"] * np.eye(3)[1])
        local = np.einsum("fji,fj->fi", frame, ankle_mm - start) * np.array([1.0, sign, 1.0])
        length = self.body.segments
        pole = np.broadcast_to(np.asarray(knee, dtype=np.float64), local.shape)
        directions = two_bone(local, pole, length["thigh"], length["shank"], LEG_LIMITS[3][1])
        self.leg[side] = clip_angles(leg_angles(*directions), LEG_LIMITS)

    def settle(self) -> None:
        """Raise or lower the body so that its lower ankle stands on the floor in every frame."""
        lowest = np.minimum(*(self.leg_points(side)[1][:, 2] for side in SIDES))
        self.pelvis_mm[:, 2] += self.body.ankle_height - lowest

    def lift_off_floor(self, clearance: float = 30.0) -> None:
        """Raise the body wherever a knee or an ankle would come nearer to the floor than ``clearance`` mm."""
        lowest = np.min([point[:, 2] for side in SIDES for point in self.leg_points(side)], axis=0)
        self.pelvis_mm[:, 2] += np.maximum(clearance - lowest, 0.0)

    def joints(self) -> np.ndarray:
        """Forward kinematics: (frames, 17, 3) positions in the world, mm, Human3.6M order."""
        points = self.trunk_points()
        right_leg, left_leg = self.leg_points("right"), self.leg_points("left")
        right_arm, left_arm = self.arm_points("right"), self.arm_points("left")
        order = [
            points["hip"],
            points["right hip"],
            *right_leg,
            points["left hip"],
            *left_leg,
            points["spine"],
            points["thorax"],
            points["nose"],
            points["head"],
            points["left shoulder"],
            *left_arm,
            points["right shoulder"],
            *right_arm,
        ]
        return np.stack(order, axis=1)
