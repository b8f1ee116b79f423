"""Random poses of people, family by family, for the wide synthetic world.

    from data.synthetic.families import FAMILIES, draw_pose
    joints_mm, family = draw_pose(rng, body, 64)

Each family is a function that sets a batch of poses (:class:`~data.synthetic.families.poser.Poser`): trunk first, then
what holds the body up, then what the hands do, then where the eyes look.
"""

from collections.abc import Callable

import numpy as np

from data.synthetic.bodies import Body
from data.synthetic.families import grounded, moving, resting, upright
from data.synthetic.families.blending import blend
from data.synthetic.families.poser import Poser, body_rows, merge
from data.synthetic.families.support import keep_above_floor, loosen, unlikeliness
from utils.errors import DiffPoseError
from utils.skeleton import H36M17

# Family -> weight; everyday poses make up two thirds.
FAMILIES: dict[str, float] = {
    "standing": 0.20,
    "walking": 0.10,
    "sitting": 0.13,
    "bending": 0.06,
    "crouching": 0.04,
    "reaching": 0.05,
    "carrying": 0.04,
    "sitting_floor": 0.05,
    "kneeling": 0.04,
    "lying": 0.05,
    "crawling": 0.03,
    "getting_up": 0.02,
    "lunging": 0.025,
    "balancing": 0.025,
    "running": 0.025,
    "kicking": 0.015,
    "jumping": 0.02,
    "throwing": 0.025,
    "pushing": 0.015,
    "climbing": 0.015,
    "dancing": 0.015,
    "inverted": 0.01,
}
POSES: dict[str, Callable[[Poser], None]] = {
    name: getattr(module, name)
    for module in (upright, moving, resting, grounded)
    for name in FAMILIES
    if hasattr(module, name)
}
BLENDED = 0.15  # share of the poses that are partly another family's
CANDIDATES = 2  # so many poses are drawn for each that is returned: the likeliest of them
RUN = 32  # a small call draws one family for so many poses together, since larger batches are faster
FREE = 1024  # a call of so many poses or more draws the family of each by itself
MIRRORED = np.arange(17)
MIRRORED[list(H36M17.left)], MIRRORED[list(H36M17.right)] = list(H36M17.right), list(H36M17.left)


def pose_family(rng: np.random.Generator, body: Body, count: int, family: str) -> Poser:
    """``count`` settled poses of one family, before any of them is mirrored."""
    candidates = body_rows(body, np.repeat(np.arange(count), CANDIDATES))
    poser = Poser(rng, candidates, count * CANDIDATES)
    POSES[family](poser)
    loosen(poser)
    keep_above_floor(poser)
    poser.settle()
    cost = unlikeliness(poser, poser.joints()).reshape(count, CANDIDATES)
    return poser.rows(np.arange(count) * CANDIDATES + cost.argmin(axis=1))


def draw_families(rng: np.random.Generator, count: int) -> np.ndarray:
    """Family indices (count,) by their weights; at least two draws, so that there is something to blend."""
    weights = np.array(list(FAMILIES.values()))
    runs = count if count >= FREE else max(2, -(-count // RUN))
    drawn = rng.choice(len(weights), size=runs, p=weights / weights.sum())
    return rng.permutation(drawn[np.linspace(0, runs, count, endpoint=False).astype(int)])


def draw_pose(
    rng: np.random.Generator, body: Body, count: int, family: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """``count`` random poses, of one family or of all by their weights.

    body: its stature, girth and segments are numbers, or arrays (count,) for a body of each pose's own. Some hundred
    poses in a call take the least time a pose.

    Returns joints (count, 17, 3) in mm, Human3.6M order, z up, the floor at z = 0, facing +x; and the family's index
    (count,) in ``list(FAMILIES)``. A share :data:`BLENDED` of the poses is partly another family's, unless the family
    is given. Raises :class:`DiffPoseError` for an unknown family.
    """
    if family is not None and family not in FAMILIES:
        raise DiffPoseError(f"unknown family of poses '{family}': there are {', '.join(FAMILIES)}")
    names = list(FAMILIES)
    index = draw_families(rng, count) if family is None else np.full(count, names.index(family))
    posers, order = [], []
    for number in np.unique(index):
        rows = np.flatnonzero(index == number)
        posers.append(pose_family(rng, body_rows(body, rows), len(rows), names[number]))
        order.append(rows)
    poser = merge(posers, np.argsort(np.concatenate(order)))
    joints = poser.joints()
    if family is None:
        joints = blend(poser, joints, index, share=BLENDED)
    joints[..., :2] -= joints[:, :1, :2]
    mirror = rng.uniform(size=count) < 0.5
    joints[mirror] = joints[mirror][:, MIRRORED] * (1.0, -1.0, 1.0)
    return joints, index
