"""A batch of independent poses: trunk, arms and legs set by angles, by directions or by where hands and feet go.

The same as :class:`data.synthetic.kinematics.Motion`, but rows are poses and not moments, both sides are set in one
call (axis 1: left, right), the pelvis turns freely (people lie and stand on their hands), and each row may have its own
body.
"""

import numpy as np

from data.synthetic.bodies import Body
from data.synthetic.families.dice import Dice
from data.synthetic.kinematics import (
    ARM_LIMITS,
    LEG_LIMITS,
    TORSO_LIMITS,
    UP,
    arm_angles,
    arm_directions,
    clip_angles,
    leg_angles,
    leg_directions,
    torso_rotation,
    two_bone,
    unit,
)

LEFT, RIGHT = 0, 1
MIRROR = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])  # (side, xyz)
SIGN = MIRROR[:, 1]
SPINE = ("lumbar", "chest", "neck", "head")
# Small angular noise (degrees) of the joints of the trunk and of free limbs.
SPINE_NOISE = {"lumbar": (3.0, 2.5, 2.5), "chest": (3.0, 2.5, 5.0), "neck": (5.0, 4.0, 7.0), "head": (4.0, 2.5, 4.0)}
LIMB_NOISE = 3.0
# Shares of the body's mass by joint, from Winter's segment masses.
TRUNK_MASS, ARM_MASS = (
    [0.20, 0.057, 0.068, 0.036, 0.057, 0.068, 0.036, 0.14, 0.157, 0.041, 0.040],
    [0.014, 0.022, 0.014],
)
MASS = np.array([*TRUNK_MASS, *ARM_MASS, *ARM_MASS])
# Height of a joint's centre above the floor when its part of the body lies on it, mm, for a person 1.75 m tall.
CLEARANCE = np.array(
    [95.0, 90.0, 55.0, 62.0, 90.0, 55.0, 62.0, 85.0, 85.0, 70.0, 60.0, 80.0, 42.0, 38.0, 80.0, 42.0, 38.0]
)
ANKLES, KNEES, ELBOWS, WRISTS = [6, 3], [5, 2], [12, 15], [13, 16]


def apply(frames: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, K, 3) of local frames (N, 3, 3) in the world."""
    return vectors @ frames.transpose(0, 2, 1)


def heading(degrees) -> np.ndarray:
    """Horizontal directions (..., 3) at angles to the left of +x."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)


class Poser:
    """``count`` poses of one body, or of one body each.

    body: lengths are numbers or (count,). root: (N, 3, 3) orientation of the pelvis; pelvis: (N, 3) place of the hip
    centre, mm; spine[name]: (N, 3) degrees; arm, leg: (N, 2, 4) degrees, left and right. Limits of human motion hold
    whatever is set, but for the pelvis, which turns freely.
    """

    def __init__(self, rng: np.random.Generator, body: Body, count: int):
        self.dice = Dice(rng, count)
        self.count = count
        self.size = {name: self.column(length) for name, length in body.segments.items()}
        self.scale = self.column(body.scale)
        self.ankle = self.column(body.ankle_height)
        self.leg_length = self.size["thigh"] + self.size["shank"]
        self.arm_length = self.size["upper_arm"] + self.size["forearm"]
        self.root = np.tile(np.eye(3), (count, 1, 1))
        self.pelvis = np.zeros((count, 3))
        self.spine = {name: np.zeros((count, 3)) for name in SPINE}
        self.arm = np.tile([8.0, 40.0, 10.0, 15.0], (count, 2, 1))
        self.leg = np.tile([0.0, 3.0, 5.0, 4.0], (count, 2, 1))
        self.held = np.zeros((count, 4), dtype=bool)  # left arm, right arm, left leg, right leg go where they are told
        self.sole = np.repeat(self.ankle[:, None], 2, axis=1)  # (N, 2) lowest height of the ankles: flat feet, or less
        self.airborne = np.zeros(count)  # height of the lowest joint above its resting height, mm
        self.update()

    def column(self, value) -> np.ndarray:
        result = np.empty(self.count)
        result[:] = value
        return result

    def row(self, *values) -> np.ndarray:
        """(N, K) out of K numbers or (N,)."""
        result = np.empty((self.count, len(values)))
        for index, value in enumerate(values):
            result[:, index] = value
        return result

    def sides(self, left, right) -> np.ndarray:
        """(N, 2) out of two numbers or (N,)."""
        return self.row(left, right)

    # ---- trunk

    def trunk(self, *, pitch=0.0, roll=0.0, yaw=0.0, bend=0.0, side=0.0, twist=0.0, noise: float = 1.0) -> None:
        """Set the trunk, in degrees.

        pitch, roll, yaw: of the pelvis, forward, to the left, to the left. bend, side, twist: of the spine, shared by
        its joints. The neck and the head continue the trunk; :meth:`look` turns them.
        """
        self.root = torso_rotation(self.row(pitch, roll, yaw))
        bend, side, twist = (self.column(value) for value in (bend, side, twist))
        whole = {
            "lumbar": self.row(0.55 * bend, 0.5 * side, 0.3 * twist),
            "chest": self.row(0.45 * bend, 0.5 * side, 0.7 * twist),
            "neck": np.zeros((self.count, 3)),
            "head": np.zeros((self.count, 3)),
        }
        for name, angles in whole.items():
            spread = noise * np.array(SPINE_NOISE[name])
            self.spine[name] = clip_angles(angles + self.dice.around(np.zeros(3), spread), TORSO_LIMITS[name])
        self.update()

    def look(self, direction: np.ndarray, share=1.0) -> None:
        """Turn neck and head so that the face looks along ``direction`` (N, 3), as far as they can.

        share: (N,) or a number, 0 leaves the head in line with the trunk.
        """
        local = np.einsum("nji,nj->ni", self.frames["chest"], unit(direction))
        twist = np.degrees(np.arctan2(local[:, 1], local[:, 0]))
        # Nobody looks behind: a direction behind the chest is followed to the side only.
        twist = np.where(np.abs(twist) > 120, 0.3 * twist, twist)
        down = np.degrees(np.arctan2(-local[:, 2], np.maximum(np.hypot(local[:, 0], local[:, 1]), 0.15)))
        for name, part in (("neck", (0.6, 0.65)), ("head", (0.4, 0.35))):
            wanted = self.row(part[0] * share * down, self.spine[name][:, 1], part[1] * share * twist)
            noise = self.dice.around(np.zeros(3), np.array(SPINE_NOISE[name]) * (1.0, 0.0, 1.0))
            self.spine[name] = clip_angles(wanted + noise, TORSO_LIMITS[name])
        self.update()

    def update(self) -> None:
        """Frames and points of the trunk, relative to the pelvis, from its angles."""
        frame = self.root
        self.frames = {"pelvis": frame}
        for name in SPINE:
            frame = frame @ torso_rotation(self.spine[name])
            self.frames[name] = frame
        size = self.size
        spine = size["lumbar"][:, None] * self.frames["lumbar"][:, :, 2]
        thorax = spine + size["thoracic"][:, None] * self.frames["chest"][:, :, 2]
        nose = thorax + size["neck"][:, None] * (self.frames["neck"] @ unit(np.array([0.45, 0.0, 1.0])))
        top = nose + size["head"][:, None] * (self.frames["head"] @ unit(np.array([-0.25, 0.0, 1.0])))
        shoulder = unit(np.array([-0.05, 1.0, -0.16])) * MIRROR
        shoulder = thorax[:, None] + apply(self.frames["chest"], size["clavicle"][:, None, None] * shoulder)
        hip = apply(self.root, size["hip"][:, None, None] * (np.eye(3)[1] * MIRROR))
        self.points = {"spine": spine, "thorax": thorax, "nose": nose, "head": top, "shoulder": shoulder, "hip": hip}

    # ---- limbs: frames of arms and legs are those of chest and pelvis

    def hips(self) -> np.ndarray:
        """(N, 2, 3), mm, in the world."""
        return self.pelvis[:, None] + self.points["hip"]

    def shoulders(self) -> np.ndarray:
        """(N, 2, 3), mm, in the world."""
        return self.pelvis[:, None] + self.points["shoulder"]

    def legs(self) -> tuple[np.ndarray, np.ndarray]:
        """Knees and ankles (N, 2, 3), mm, in the world."""
        thigh, shank = leg_directions(self.leg.reshape(-1, 4))
        first = apply(self.root, thigh.reshape(-1, 2, 3) * MIRROR) * self.size["thigh"][:, None, None]
        second = apply(self.root, shank.reshape(-1, 2, 3) * MIRROR) * self.size["shank"][:, None, None]
        knees = self.hips() + first
        return knees, knees + second

    def arms(self) -> tuple[np.ndarray, np.ndarray]:
        """Elbows and wrists (N, 2, 3), mm, in the world."""
        upper, fore = arm_directions(self.arm.reshape(-1, 4))
        first = apply(self.frames["chest"], upper.reshape(-1, 2, 3) * MIRROR) * self.size["upper_arm"][:, None, None]
        second = apply(self.frames["chest"], fore.reshape(-1, 2, 3) * MIRROR) * self.size["forearm"][:, None, None]
        elbows = self.shoulders() + first
        return elbows, elbows + second

    def set_arms(self, angles: np.ndarray, mask=True) -> None:
        """Arms by angles (N, 2, 4) where ``mask`` (N, 2)."""
        mask = np.broadcast_to(mask, (self.count, 2))
        self.arm = np.where(mask[..., None], clip_angles(angles, ARM_LIMITS), self.arm)
        self.held[:, :2] &= ~mask

    def set_legs(self, angles: np.ndarray, mask=True) -> None:
        """Legs by angles (N, 2, 4) where ``mask`` (N, 2)."""
        mask = np.broadcast_to(mask, (self.count, 2))
        self.leg = np.where(mask[..., None], clip_angles(angles, LEG_LIMITS), self.leg)
        self.held[:, 2:] &= ~mask

    def reach(self, target: np.ndarray, elbow=(-0.3, 0.6, -1.0), mask=True) -> None:
        """Wrists to ``target`` (N, 2, 3), mm, in the world, where ``mask`` (N, 2).

        elbow: where the elbow points, (forward, outward, up) in the chest's frame, broadcast to (N, 2, 3).
        """
        local = (target - self.shoulders()) @ self.frames["chest"] * MIRROR
        pole = np.broadcast_to(np.asarray(elbow, dtype=np.float64), local.shape)
        upper, lower = (np.repeat(self.size[name], 2) for name in ("upper_arm", "forearm"))
        found = two_bone(local.reshape(-1, 3), pole.reshape(-1, 3), upper, lower, ARM_LIMITS[3][1])
        self.set_arms(arm_angles(*found).reshape(-1, 2, 4), mask)
        self.held[:, :2] |= np.broadcast_to(mask, (self.count, 2))

    def aim_arms(self, upper: np.ndarray, fore: np.ndarray, mask=True) -> None:
        """Upper arms and forearms along directions (N, 2, 3) of the world, where ``mask`` (N, 2)."""
        local = [(unit(bone) @ self.frames["chest"] * MIRROR).reshape(-1, 3) for bone in (upper, fore)]
        self.set_arms(arm_angles(*local).reshape(-1, 2, 4), mask)
        self.held[:, :2] |= np.broadcast_to(mask, (self.count, 2))

    def step(self, target: np.ndarray, knee: np.ndarray, mask=True) -> None:
        """Ankles to ``target`` (N, 2, 3), mm, knees towards ``knee`` (broadcast to (N, 2, 3)), both in the world."""
        local = (target - self.hips()) @ self.root * MIRROR
        pole = np.broadcast_to(knee, local.shape) @ self.root * MIRROR
        upper, lower = (np.repeat(self.size[name], 2) for name in ("thigh", "shank"))
        found = two_bone(local.reshape(-1, 3), pole.reshape(-1, 3), upper, lower, LEG_LIMITS[3][1])
        self.set_legs(leg_angles(*found).reshape(-1, 2, 4), mask)
        self.held[:, 2:] |= np.broadcast_to(mask, (self.count, 2))

    def aim_legs(self, thigh: np.ndarray, shank: np.ndarray, mask=True) -> None:
        """Thighs and shanks along directions (N, 2, 3) of the world, where ``mask`` (N, 2)."""
        local = [(unit(bone) @ self.root * MIRROR).reshape(-1, 3) for bone in (thigh, shank)]
        self.set_legs(leg_angles(*local).reshape(-1, 2, 4), mask)
        self.held[:, 2:] |= np.broadcast_to(mask, (self.count, 2))

    # ---- the whole body

    def joints(self) -> np.ndarray:
        """(N, 17, 3) positions in the world, mm, Human3.6M order."""
        result = np.empty((self.count, 17, 3))
        result[:, 0] = self.pelvis
        for index, name in ((7, "spine"), (8, "thorax"), (9, "nose"), (10, "head")):
            result[:, index] = self.pelvis + self.points[name]
        result[:, [4, 1]], (result[:, KNEES], result[:, ANKLES]) = self.hips(), self.legs()
        result[:, [11, 14]], (result[:, ELBOWS], result[:, WRISTS]) = self.shoulders(), self.arms()
        return result

    def clearance(self) -> np.ndarray:
        """(N, 17) height of each joint's centre above the floor when its part of the body lies there, mm."""
        heights = CLEARANCE * self.scale[:, None]
        heights[:, ANKLES] = self.sole
        return heights

    def settle(self) -> None:
        """Raise or lower the bodies so that the lowest part lies on the floor, or flies ``airborne`` mm above it."""
        gap = (self.joints()[..., 2] - self.clearance()).min(axis=1)
        self.pelvis = self.pelvis + (self.airborne - gap)[:, None] * UP

    def lie_down(self) -> None:
        """Feet lie on the floor and do not stand on it: ankles come as low as their own thickness."""
        self.sole = np.repeat(CLEARANCE[ANKLES[0]] * self.scale[:, None], 2, axis=1)

    def rows(self, keep: np.ndarray) -> "Poser":
        """The poses at indices ``keep``."""
        return merge([self], keep)


STATE = ("scale", "ankle", "leg_length", "arm_length", "root", "pelvis", "arm", "leg", "held", "sole", "airborne")


def merge(posers: list[Poser], order: np.ndarray) -> Poser:
    """The poses of several batches, one batch after the other, in a new order (indices)."""
    result = object.__new__(Poser)
    result.dice, result.count = Dice(posers[0].dice.rng, len(order)), len(order)
    for name in ("size", "spine", "frames", "points"):
        parts = [getattr(poser, name) for poser in posers]
        setattr(result, name, {key: np.concatenate([part[key] for part in parts])[order] for key in parts[0]})
    for name in STATE:
        setattr(result, name, np.concatenate([getattr(poser, name) for poser in posers])[order])
    return result


def body_rows(body: Body, rows: np.ndarray) -> Body:
    """The bodies at indices ``rows`` of a :class:`Body` whose lengths are (count,); numbers stay numbers."""
    pick = {name: length if np.ndim(length) == 0 else length[rows] for name, length in body.segments.items()}
    stature, girth = (value if np.ndim(value) == 0 else value[rows] for value in (body.stature, body.girth))
    return Body(name=body.name, stature=stature, segments=pick, girth=girth)
