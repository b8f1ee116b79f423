"""People who sit on chairs and on the floor, kneel, and lie."""

import numpy as np

from data.synthetic.families import arms
from data.synthetic.families.poser import ANKLES, KNEES, WRISTS, Poser, heading
from data.synthetic.families.support import knees_down
from data.synthetic.families.upright import SIGN
from data.synthetic.kinematics import UP


def ankles_at(poser: Poser, forward, outward, up) -> np.ndarray:
    """Places (N, 2, 3), mm: (N, 2) ahead of and outward from the pelvis, ``up`` above the floor."""
    target = np.zeros((poser.count, 2, 3))
    target[..., :2] = poser.pelvis[:, None, :2]
    target[..., 0] += forward
    target[..., 1] += outward * SIGN
    target[..., 2] = up
    return target


def sitting(poser: Poser) -> None:
    """On a chair, a stool or a high seat: upright, leaning on or back; feet flat, crossed, tucked or stretched."""
    dice = poser.dice
    lean = np.where(dice.chance(0.6), dice.between(-18.0, 14.0), dice.between(-32.0, 52.0))
    slump = dice.between(-4.0, 24.0)
    poser.trunk(
        pitch=np.clip(0.65 * lean - 0.6 * slump, -42, 40),
        roll=dice.around(0.0, 4.0),
        yaw=dice.around(0.0, 7.0),
        bend=0.35 * np.abs(lean) + slump,
        side=dice.around(0.0, 7.0),
        twist=dice.around(0.0, 13.0),
    )
    seat = np.where(dice.chance(0.75), dice.between(0.88, 1.12), dice.between(0.5, 1.75))
    floor = poser.ankle
    poser.pelvis[:, 2] = floor + poser.size["shank"] * seat + 25.0 * poser.scale
    thigh, shank, hip = poser.size["thigh"][:, None], poser.size["shank"][:, None], poser.size["hip"][:, None]
    high = np.clip(seat - 1.05, 0, None)[:, None]
    own = dice.around((0.0, 0.0), 0.16)
    ahead = np.where(dice.chance(0.5), dice.around(1.0, 0.12), dice.between(0.45, 1.75))[:, None] + own - 0.25 * high
    out = np.where(dice.chance(0.7), dice.between(0.5, 1.6), dice.between(0.3, 3.2))[:, None] + 0.25 * own
    lift = (0.8 * high * shank) * dice.between((0.2,), (1.0,)) + 55 * np.clip(-own - 0.1, 0, 1) / 0.3
    feet = ankles_at(poser, thigh * ahead, hip * out, floor[:, None] + lift)
    outward = dice.between(-12.0, 34.0)[:, None] + dice.around((0.0, 0.0), 7.0)
    poser.step(feet, 0.6 * heading(outward * SIGN) + UP)
    # One leg over the other: thigh on thigh, ankle on knee, or only the ankles.
    kind = dice.pick((5, 1.3, 0.9, 0.6))
    over = dice.around((88.0, -15.0, -3.0, 74.0), (7.0, 4.0, 5.0, 13.0))
    four = dice.around((82.0, 32.0, 68.0, 96.0), (6.0, 6.0, 6.0, 9.0))
    over, four = (angles - poser.row(np.clip(-lean, -10, 30) * 0.3, 0, 0, 0) for angles in (over, four))
    angles = np.where((kind == 1)[:, None], over, four)
    first = np.stack([np.isin(kind, (1, 2)), np.zeros(poser.count, bool)], axis=1)
    poser.set_legs(np.stack([angles, angles], axis=1), first)
    crossed = feet.copy()
    crossed[..., 1] = -0.35 * feet[..., 1]
    crossed[:, 0, 0] += 90.0 * poser.scale
    crossed[:, 0, 2] += 40.0
    poser.step(crossed, 0.6 * heading(outward * SIGN) + UP, (kind == 3)[:, None])
    arms.act(poser, arms.SITTING)
    arms.gaze(poser, down=11.0)


def sitting_floor(poser: Poser) -> None:
    """On the floor: legs stretched, straddled, crossed, drawn up, sideways, one of each; hands prop, hug or rest."""
    dice, leg, hip = poser.dice, poser.leg_length[:, None], poser.size["hip"][:, None]
    poser.lie_down()
    lean = dice.between(-38.0, 32.0)
    kind = dice.pick((2, 1, 2, 2.4, 1.3, 1.6, 0.6))
    poser.trunk(
        pitch=np.clip(0.6 * lean - 10, -40, 25),
        roll=dice.around(0.0, 5.0),
        yaw=0.0,
        bend=dice.between(0.0, 40.0) + 0.4 * np.clip(lean, 0, 40),
        side=dice.around(0.0, 7.0),
        twist=dice.around(0.0, 13.0),
    )
    poser.pelvis[:, 2] = poser.clearance()[:, 0] + dice.between(0.0, 12.0)
    low = poser.clearance()[:, ANKLES]
    one = np.ones((poser.count, 2))
    pair = dice.around(0.0, 1.0)[:, None] * 0.7 + dice.around((0.0, 0.0), 0.7)
    long = (leg * (0.955 + 0.03 * np.tanh(pair)), hip * (1.3 + 0.6 * pair), 0.1, 15.0)
    straddle = (leg * (0.74 + 0.12 * pair), leg * (0.52 + 0.08 * pair), 0.1, 25.0)
    cross = (leg * (0.36 + 0.05 * pair), -hip * (0.55 + 0.35 * pair), 0.30, 72.0)
    up = (leg * (0.54 + 0.13 * pair), hip * (1.0 + 0.4 * pair), 1.0, 12.0)
    diamond = (leg * (0.36 + 0.08 * pair), hip * (0.35 + 0.25 * np.abs(pair)), 0.28, 68.0)
    aside = (leg * [[0.12, 0.38]] + 25 * pair, leg * [[0.34, -0.10]] + 25 * pair, 0.12, np.array([[-22.0, 62.0]]))
    ways: list[tuple] = [long, straddle, cross, up, aside, diamond]
    left = np.choose(kind, [0, 1, 2, 3, 4, 3, 5])
    right = np.choose(kind, [0, 1, 2, 3, 4, 0, 0])
    right = np.where((kind == 5) & dice.chance(0.45), 2, right)
    values = [np.stack([way[k] * one for way in ways]) for k in range(4)]
    index, row = np.stack([left, right], axis=1), np.arange(poser.count)[:, None]
    forward, outward, rise, azimuth = (value[index, row, [[0, 1]]] for value in values)
    forward = np.where((left == 2) & (right == 2), 1.0, 1.0)[:, None] * forward
    forward[:, 0] += np.where(kind == 2, 60.0, 0.0) * poser.scale  # one shin before the other
    azimuth = azimuth + dice.around((0.0, 0.0), 7.0)
    feet = ankles_at(poser, np.minimum(forward, 0.985 * leg), outward, low)
    poser.step(
        feet, heading(azimuth * SIGN) + (rise * 1.6)[..., None] * UP * np.where(rise > 0.9, 1.6, 0.35)[..., None]
    )
    arms.act(poser, arms.ON_FLOOR)
    arms.gaze(poser, down=6.0)


def kneel(poser: Poser, slope, spread, *, mask=True, toes=None) -> None:
    """Hips at the height at which thighs lean back by ``slope`` (N,) degrees; knees ``spread`` (N,) degrees apart."""
    dice = poser.dice
    knee = poser.clearance()[:, KNEES[0]]
    poser.pelvis[:, 2] = knee + poser.size["thigh"] * np.cos(np.radians(slope))
    azimuth = spread[:, None] + dice.around((0.0, 0.0), 5.0)
    back = 180.0 + 0.4 * spread[:, None] + dice.around((0.0, 0.0), 8.0)
    knees_down(poser, azimuth, back, mask)


def kneeling(poser: Poser) -> None:
    """On one knee or both, upright or on the heels; the hands rest, work, or lie on floor and thigh."""
    dice = poser.dice
    poser.lie_down()
    both = dice.chance(0.5)
    slope = np.where(dice.chance(0.5), dice.between(2.0, 32.0), dice.between(20.0, 68.0))
    slope = np.where(both, slope, np.minimum(slope, dice.between(2.0, 38.0)))
    lean = np.where(dice.chance(0.6), dice.between(-8.0, 18.0), dice.between(5.0, 72.0))
    poser.trunk(
        pitch=0.55 * lean,
        roll=dice.around(0.0, 4.0),
        yaw=dice.around(0.0, 7.0),
        bend=0.55 * lean + 4,
        side=dice.around(0.0, 7.0),
        twist=dice.around(0.0, 13.0),
    )
    kneel(poser, slope, np.where(both, dice.between(2.0, 40.0), dice.between(-8.0, 20.0)))
    ahead = poser.size["thigh"] * dice.between(0.7, 1.25)
    front = ankles_at(poser, ahead[:, None], (poser.size["hip"] * dice.between(0.6, 2.2))[:, None], 0.0)
    front[..., 2] = poser.ankle[:, None]
    knee = heading(dice.around(14.0, 13.0)[:, None] * SIGN) + 0.7 * UP
    poser.step(front, knee, np.stack([~both, np.zeros(poser.count, bool)], axis=1))
    arms.act(poser, arms.KNEELING)
    arms.gaze(poser, hands=0.45)


LEGS_ON_BACK = np.array(
    [  # flexion, abduction, rotation, knee
        [(-4, 1, -5, 2), (8, 26, 35, 16)],  # stretched
        [(40, -4, -12, 82), (62, 14, 14, 122)],  # the foot on the floor
        [(35, 30, 45, 70), (60, 52, 75, 120)],  # the knee fallen outwards
        [(60, -5, -10, 20), (115, 25, 25, 140)],  # in the air
    ],
    dtype=np.float64,
)
LEGS_ON_FRONT = np.array(
    [
        [(-12, 1, -15, 2), (3, 24, 30, 12)],  # stretched
        [(-8, 1, -10, 30), (6, 14, 15, 115)],  # the shin up
        [(20, 32, 40, 45), (75, 55, 75, 120)],  # the knee drawn up beside the body
    ],
    dtype=np.float64,
)
LEGS_ON_SIDE = np.array(
    [
        [(0, -12, -15, 5), (35, 2, 15, 50)],  # stretched
        [(30, -12, -15, 40), (85, 2, 15, 110)],  # bent
        [(75, -10, -15, 70), (125, 2, 15, 145)],  # curled up
    ],
    dtype=np.float64,
)


def legs_of(poser: Poser, table: np.ndarray, weights, *, alike: float) -> np.ndarray:
    """(N, 2, 4) degrees: each leg between the bounds of a row of ``table``; with a chance both of the same row."""
    angles = [poser.dice.pick_row(table[:, 0], table[:, 1], weights)[1] for _ in range(2)]
    same = poser.dice.chance(alike)[:, None]
    second = np.where(same, angles[0] + poser.dice.around(np.zeros(4), 5.0), angles[1])
    return np.stack([angles[0], second], axis=1)


def arms_on_floor(poser: Poser, mask, *, height=0.0) -> None:
    """Arms spread on the floor at any angle: along the body, out, bent, above the head; ``mask`` (N, 2)."""
    dice = poser.dice
    up = np.sign(poser.frames["chest"][:, 2, 0])  # the chest looks up or down
    angle = np.radians(np.where(dice.chance(0.5), dice.between(5.0, 50.0), dice.between(5.0, 172.0)))[:, None]
    angle = angle + np.radians(dice.around((0.0, 0.0), 12.0)) * np.where(dice.chance(0.6), 1.0, 4.0)[:, None]
    length = poser.arm_length[:, None] * np.where(
        dice.chance(0.6)[:, None], dice.between((0.85,) * 2, (0.99,) * 2), dice.between((0.5,) * 2, (0.95,) * 2)
    )
    local = np.stack([0.0 * angle, np.sin(angle), -np.cos(angle)], axis=-1) * length[..., None]
    target = poser.shoulders() + (local * [[1, 1, 1], [1, -1, 1]]) @ poser.frames["chest"].transpose(0, 2, 1)
    target[..., 2] = poser.clearance()[:, WRISTS] + height
    bent = np.where(dice.chance(0.5), 1.0, -1.0)
    poser.reach(target, np.stack([-0.5 * up, 0.6 * bent, 0.7 * bent], axis=-1)[:, None] * [[1, 1, 1]], mask)


def lying(poser: Poser) -> None:
    """On the back, the front or a side: stretched, curled, knees up, hands under the head, on the belly, wherever."""
    dice = poser.dice
    poser.lie_down()
    kind = dice.pick((4.5, 2.5, 3.0))
    back, front, side = kind == 0, kind == 1, kind == 2
    prop = dice.chance(0.35)
    pitch = np.where(back, -90.0, np.where(front, 90.0 - 16.0 * prop, 0.0)) + dice.around(0.0, 3.0)
    curl = np.where(
        back, dice.between(-4, 22), np.where(front, -20.0 * prop - dice.between(0, 6), dice.between(-6, 45))
    )
    slant = np.where(side, 0.0, dice.around(0.0, 8.0))
    poser.trunk(
        pitch=pitch,
        roll=np.where(side, 0.0, slant),
        yaw=0.0,
        bend=curl,
        side=dice.around(0.0, 6.0),
        twist=dice.around(0.0, 10.0),
    )
    # On the side: head first along -x, the left side up, rolled a little to the back or the front.
    flat = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    flat = np.stack([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]], axis=1)
    tip = np.radians(dice.around(0.0, 16.0))
    zero, one = np.zeros_like(tip), np.ones_like(tip)
    roll = np.stack([one, zero, zero, zero, np.cos(tip), -np.sin(tip), zero, np.sin(tip), np.cos(tip)], axis=-1)
    poser.root = np.where(side[:, None, None], roll.reshape(-1, 3, 3) @ flat, poser.root)
    poser.update()
    poser.pelvis[:, 2] = np.where(side, poser.clearance()[:, 1] + poser.size["hip"], poser.clearance()[:, 0])
    on_back = legs_of(poser, LEGS_ON_BACK, (3, 2, 0.7, 0.8), alike=0.5)
    on_front = legs_of(poser, LEGS_ON_FRONT, (3, 0.8, 1), alike=0.5)
    on_side = legs_of(poser, LEGS_ON_SIDE, (1, 2, 1), alike=0.6)
    poser.set_legs(np.where(back[:, None, None], on_back, np.where(front[:, None, None], on_front, on_side)))
    knees, ankles = poser.legs()
    low = poser.clearance()[:, ANKLES]
    flat_feet = back[:, None] & (ankles[..., 2] < 190.0) & (knees[..., 2] > 230.0)
    planted = ankles.copy()
    planted[..., 2] = np.where(flat_feet, low + 14.0, np.maximum(ankles[..., 2], low))
    poser.step(planted, knees - (poser.hips() + ankles) / 2 + 0.02 * UP, flat_feet)
    rest_arms(poser, back, front & prop, side)
    up = poser.frames["chest"][:, :, 0]
    turned = dice.around(0.0, 0.7)[:, None] * poser.frames["chest"][:, :, 1]
    flat_face = np.where((dice.chance(0.5))[:, None], 1.3, -1.3) * poser.frames["chest"][:, :, 1] + 0.3 * up
    ahead = 1.2 * poser.frames["chest"][:, :, 2] + 0.2 * up
    poser.look(np.where((front & prop)[:, None], ahead, np.where(front[:, None], flat_face, up + turned)))


def rest_arms(poser: Poser, back: np.ndarray, prop: np.ndarray, side: np.ndarray) -> None:
    """The arms of people who lie: (N,) on the back, on the front propped on the elbows, on a side."""
    dice = poser.dice
    arms_on_floor(poser, np.ones((poser.count, 2), bool))
    on_body = arms.sides_of(
        ("belly", "belly", 2),
        ("low clasped", "low clasped", 1),
        ("behind head", "behind head", 1.5),
        ("brow", "belly", 0.7),
        ("screen", "screen", 1),
        ("raised", "raised", 0.5),
        ("any", "any", 0.8),
        ("thigh", "thigh", 0.7),
        ("heart", "belly", 0.7),
        ("ahead", "ahead", 0.5),
    )
    arms.act(poser, on_body, (back & dice.chance(0.6))[:, None] & ((SIGN > 0) | dice.chance(0.7)[:, None]))
    shoulder = poser.shoulders()
    forward = poser.frames["chest"][:, :, 2]
    level = forward * (1, 1, 0) / np.maximum(np.linalg.norm(forward[:, :2], axis=-1), 0.1)[:, None]
    across = np.stack([-level[:, 1], level[:, 0], 0 * level[:, 0]], axis=-1)[:, None] * -SIGN[:, None]
    elbow = shoulder + level[:, None] * dice.between((10.0, 10.0), (130.0, 130.0))[..., None]
    elbow[..., 2] = poser.clearance()[:, [12, 15]]
    fore = level[:, None] + across * dice.around((0.1, 0.1), 0.35)[..., None] * SIGN[:, None] - 0.015 * UP
    poser.aim_arms(elbow - shoulder, fore, prop[:, None])
    chest = poser.row(dice.between(150, 420), dice.between(-60, 60), dice.between(-330, 30)) * poser.scale[:, None]
    front = dice.between((140.0, -60.0, -250.0), (400.0, 60.0, 60.0)) * poser.scale[:, None]
    both = np.stack([front, chest * (0.9, 1.0, 0.6)], axis=1)
    arms.hold(poser, "chest", both, (0.2, 0.5, -0.8), side[:, None])
    hug = arms.sides_of(
        ("thigh", "thigh", 1), ("hip", "thigh", 1), ("thigh", "any", 1), ("shin", "shin", 1), ("prayer", "prayer", 1)
    )
    arms.act(poser, hug, (side & dice.chance(0.5))[:, None] & (SIGN > 0))
    under = np.array([20.0, 60.0, 60.0]) + dice.around(np.zeros(3), (35.0, 30.0, 40.0))
    arms.hold(
        poser,
        "head",
        np.stack([under, under], axis=1) * poser.scale[:, None, None],
        (0.8, 0.3, 0.3),
        (side & dice.chance(0.45))[:, None] & (SIGN < 0),
    )
