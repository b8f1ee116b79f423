"""Where on a body the joints are said to be: recordings and detectors differ, above all along the trunk and the head.

Kinematics places the 17 joints where Human3.6M has them on average. A :class:`JointDefinition` moves them afterwards
to where another recording would have put them on the same body in the same pose.
"""

from dataclasses import dataclass, fields

import numpy as np

Number = float | np.ndarray


@dataclass(frozen=True)
class JointDefinition:
    """Changes to the joints; each is a number, or one for each pose (F,). The defaults change nothing.

    spine: where the spine lies along the trunk, 0 the hips and 1 the thorax; NaN leaves it in its place.
    thorax: how far the thorax moves up, in shares of the trunk's length.
    neck, head: length of the neck and of the head, relative to what they were.
    face: how far the neck's joint moves back, from the nose (0) to the line between thorax and head (1).
    hip_width, shoulder_width: distance of the joints from the middle, relative to what it was.
    hip_height, shoulder_height: how far they move up, in shares of the trunk's length.
    """

    spine: Number = np.nan
    thorax: Number = 0.0
    neck: Number = 1.0
    head: Number = 1.0
    face: Number = 0.0
    hip_width: Number = 1.0
    hip_height: Number = 0.0
    shoulder_width: Number = 1.0
    shoulder_height: Number = 0.0

    def redefine(self, joints_mm: np.ndarray) -> np.ndarray:
        """The joints (F, 17, 3), mm, in Human3.6M's order, where this definition puts them."""
        change = {field.name: np.asarray(getattr(self, field.name), np.float64)[..., None] for field in fields(self)}
        hip, spine, thorax, nose, head = (joints_mm[:, joint] for joint in (0, 7, 8, 9, 10))
        result = np.array(joints_mm, dtype=np.float64)
        lower, lumbar = _direction(spine - hip)
        upper, thoracic = _direction(thorax - spine)
        trunk = lumbar + thoracic

        result[:, [1, 4]] = (
            hip[:, None]
            + change["hip_width"][..., None] * (joints_mm[:, [1, 4]] - hip[:, None])
            + (change["hip_height"] * trunk * lower)[:, None]
        )
        result[:, 0] = result[:, [1, 4]].mean(axis=1)
        # The shoulders move as seen from the middle between them, so that a shrug stays one.
        middle = joints_mm[:, [11, 14]].mean(axis=1)
        result[:, [11, 14]] = (
            middle[:, None]
            + change["shoulder_width"][..., None] * (joints_mm[:, [11, 14]] - middle[:, None])
            + (change["shoulder_height"] * trunk * upper)[:, None]
        )
        result[:, 8] = thorax + change["thorax"] * trunk * upper
        along = change["spine"] * trunk
        moved = np.where(along < lumbar, hip + along * lower, spine + (along - lumbar) * upper)
        result[:, 7] = np.where(np.isnan(along), spine, moved)
        line, _ = _direction(head - thorax)
        back = thorax + np.sum((nose - thorax) * line, axis=-1, keepdims=True) * line
        neck = nose + change["face"] * (back - nose)
        result[:, 9] = result[:, 8] + change["neck"] * (neck - thorax)
        result[:, 10] = result[:, 9] + change["head"] * (head - neck)
        return result


def _direction(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (F, 3) and lengths (F, 1)."""
    length = np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-6)
    return vector / length, length


STANDARD = JointDefinition()


def draw_definition(rng: np.random.Generator, count: int | None = None) -> JointDefinition:
    """A definition as recordings and detectors have them: near Human3.6M's most often, and seldom far from it.

    count: draw one for each of this many poses.
    """

    def around(mean: float, spread: float, low: float, high: float) -> Number:
        return np.clip(rng.normal(mean, spread, count), low, high)

    return JointDefinition(
        spine=around(0.475, 0.05, 0.35, 0.60),
        thorax=around(0.01, 0.05, -0.10, 0.15),
        neck=around(1.0, 0.12, 0.70, 1.40),
        head=around(1.02, 0.15, 0.55, 1.50),
        face=np.clip(rng.exponential(0.25, count) - 0.1, 0.0, 1.0),
        hip_width=around(1.0, 0.13, 0.65, 1.35),
        hip_height=around(0.0, 0.03, -0.08, 0.08),
        shoulder_width=around(1.0, 0.07, 0.78, 1.18),
        shoulder_height=around(0.0, 0.035, -0.10, 0.08),
    )
