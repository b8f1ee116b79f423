"""Bodies: bone lengths from stature and anthropometric proportions, and the girth of their limbs.

Segment lengths as shares of stature follow Drillis and Contini (1966), moved to the joint centres of Human3.6M. Left
and right are equal. The benchmark's seven subjects never change; :func:`random_body` draws other people.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.synthetic.bones import SEGMENT_BONES
from data.synthetic.joint_definitions import STANDARD, JointDefinition, draw_definition
from utils.errors import DiffPoseError

TRAIN_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
TEST_SUBJECTS = ("S9", "S11")

# Shares of stature (mean over the sexes).
SEGMENT_SHARE = {
    "hip": 0.0755,
    "thigh": 0.2540,
    "shank": 0.2530,
    "lumbar": 0.1350,
    "thoracic": 0.1480,
    "neck": 0.0690,
    "head": 0.0660,
    "clavicle": 0.0870,
    "upper_arm": 0.1630,
    "forearm": 0.1440,
}
# Stature in mm, shoulders and hips relative to the mean, girth relative to the mean.
SUBJECT_BUILD = {
    "S1": (1620.0, 0.96, 1.05, 0.95),
    "S5": (1670.0, 0.97, 1.04, 0.93),
    "S6": (1840.0, 1.05, 0.98, 1.08),
    "S7": (1710.0, 1.00, 1.02, 1.00),
    "S8": (1780.0, 1.04, 0.97, 1.03),
    "S9": (1800.0, 1.02, 0.99, 1.10),
    "S11": (1745.0, 1.03, 0.99, 0.97),
}
# Radii in mm of the capsules around the bones of a person 1.75 m tall.
CAPSULE_RADIUS = {
    "thigh": 72.0,
    "shank": 50.0,
    "foot": 38.0,
    "torso": 105.0,
    "flank": 75.0,
    "neck": 60.0,
    "head": 88.0,
    "upper_arm": 44.0,
    "forearm": 36.0,
    "hand": 32.0,
}
REFERENCE_STATURE = 1750.0
STATURE_LIMITS = (1400.0, 2050.0)
GIRTH_LIMITS = (0.78, 1.45)
# Which part of the build a segment belongs to, and how much its share of the stature varies by itself.
_BUILD_PART = {
    "hip": ("width", 0.07),
    "thigh": ("leg", 0.035),
    "shank": ("leg", 0.035),
    "lumbar": ("trunk", 0.05),
    "thoracic": ("trunk", 0.05),
    "neck": ("head", 0.08),
    "head": ("head", 0.08),
    "clavicle": ("width", 0.06),
    "upper_arm": ("arm", 0.045),
    "forearm": ("arm", 0.045),
}
_BUILD_SPREAD = {"leg": 0.03, "trunk": 0.045, "head": 0.06, "arm": 0.04, "width": 0.05}
# Recorded trunks, arms and heads are a little longer than the textbook's shares.
_BUILD_MEAN = {"leg": 0.0, "trunk": 0.03, "head": 0.05, "arm": 0.02, "width": 0.0}


@dataclass(frozen=True)
class Body:
    """A subject's segment lengths in mm and the factor on the girth of the limbs.

    ``segments`` maps the names of :data:`SEGMENT_SHARE` to lengths; ``ankle_height`` is the height of the ankle's
    joint centre above the floor. ``definition`` is where this body's recording puts the joints. Numbers may be arrays
    (F,): a body for each pose.
    """

    name: str
    stature: float
    segments: dict[str, float]
    girth: float
    definition: JointDefinition = STANDARD

    @property
    def scale(self) -> float:
        """Size relative to a person 1.75 m tall."""
        return self.stature / REFERENCE_STATURE

    @property
    def ankle_height(self) -> float:
        return 0.045 * self.stature

    @property
    def leg(self) -> float:
        return self.segments["thigh"] + self.segments["shank"]

    @property
    def arm(self) -> float:
        return self.segments["upper_arm"] + self.segments["forearm"]

    def radius(self, part: str) -> float:
        """Capsule radius of a part of the body, mm."""
        return CAPSULE_RADIUS[part] * self.scale * self.girth

    def redefine(self, joints_mm: np.ndarray) -> np.ndarray:
        """The joints (F, 17, 3), mm, of kinematics where this body's recording puts them."""
        return self.definition.redefine(joints_mm)


def subject_body(subject: str) -> Body:
    """The body of S1, S5, S6, S7, S8, S9 or S11; the same in every build.

    Raises :class:`DiffPoseError` for another name.
    """
    if subject not in SUBJECT_BUILD:
        raise DiffPoseError(f"unknown subject '{subject}': the benchmark has {', '.join(SUBJECT_BUILD)}")
    stature, shoulders, hips, girth = SUBJECT_BUILD[subject]
    generator = np.random.default_rng(zlib.crc32(subject.encode()))
    segments = {}
    for name, share in SEGMENT_SHARE.items():
        segments[name] = share * stature * (1.0 + 0.025 * float(np.clip(generator.standard_normal(), -2, 2)))
    segments["clavicle"] *= shoulders
    segments["hip"] *= hips
    return Body(name=subject, stature=stature, segments=segments, girth=girth)


def random_body(rng: np.random.Generator, count: int | None = None) -> Body:
    """A person nobody has seen before: 1.40 to 2.05 m tall, with proportions that vary bone by bone.

    Legs, trunk, arms and head are long or short as a whole, and each bone a little by itself: 5 to 8 % in all. Girth
    and the definition of the joints (:func:`draw_definition`) vary too.

    count: draw so many people; stature, segments and girth are then arrays (count,).
    """
    common = rng.uniform(size=count) < 0.85
    usual = np.clip(rng.normal(1720.0, 95.0, count), *STATURE_LIMITS)
    stature = np.where(common, usual, rng.uniform(*STATURE_LIMITS, count))[()]
    build = {part: rng.normal(_BUILD_MEAN[part], spread, count) for part, spread in _BUILD_SPREAD.items()}
    # Long legs go with a short trunk: the stature stays what it is.
    build["trunk"] = build["trunk"] - 0.5 * build["leg"]
    segments = {}
    for name, share in SEGMENT_SHARE.items():
        part, own = _BUILD_PART[name]
        change = np.clip(build[part] + rng.normal(0.0, own, count), -0.22, 0.30)
        segments[name] = share * stature * (1.0 + change)
    girth = np.clip(np.exp(rng.normal(0.0, 0.13, count)), *GIRTH_LIMITS)
    measures: dict[str, Any] = {"stature": stature, "segments": segments, "girth": girth}  # numbers, or arrays (count,)
    return Body(name="random", **measures, definition=draw_definition(rng, count))


def body_from_joints(joints_mm: np.ndarray, *, name: str = "mocap", girth: float = 1.0) -> Body:
    """A body that fits recorded joints (F, 17, 3), mm: median bone lengths, left and right pooled."""
    segments = {}
    for part, bones in SEGMENT_BONES.items():
        lengths = [np.linalg.norm(joints_mm[:, a] - joints_mm[:, b], axis=-1) for a, b in bones]
        segments[part] = float(np.median(np.concatenate(lengths)))
    share = SEGMENT_SHARE["thigh"] + SEGMENT_SHARE["shank"]
    stature = (segments["thigh"] + segments["shank"]) / share
    return Body(name=name, stature=stature, segments=segments, girth=girth)
