"""People on their feet: standing, reaching, bending, crouching, carrying, pushing, climbing, getting something done."""

import numpy as np

from data.synthetic.families import arms
from data.synthetic.families.poser import WRISTS, Poser
from data.synthetic.families.support import stand_on
from data.synthetic.kinematics import SIDES

SIGN = np.array(list(SIDES.values()))  # left, right


def stance(poser: Poser, width, lead, *, raised=0.0) -> np.ndarray:
    """Ankles (N, 2, 3), mm: ``width`` hip widths apart, the left ``lead`` mm ahead; ``raised`` (N, 2) mm off flat."""
    feet = np.zeros((poser.count, 2, 3))
    feet[..., 0] = np.multiply.outer(np.ones(poser.count), SIGN) * poser.column(lead)[:, None] / 2
    feet[..., 1] = SIGN * (poser.size["hip"] * width)[:, None]
    feet[..., 2] = poser.ankle[:, None] + raised
    return feet


def toes_out(poser: Poser, mean: float = 10.0, spread: float = 9.0) -> np.ndarray:
    """(N, 2) degrees by which each foot and knee point outwards."""
    return poser.dice.around((mean, mean), (spread, spread))


def standing(poser: Poser) -> None:
    """Relaxed or not, the weight on one leg or both; the arms do all that arms do."""
    dice = poser.dice
    load = np.where(dice.chance(0.5), dice.between(0.35, 0.65), dice.between(0.0, 1.0))
    hang = 9.0 * (2 * load - 1) * dice.between(0.2, 1.3)  # the hip of the standing leg is higher
    lean = np.where(dice.chance(0.25), dice.between(0.0, 30.0), np.abs(dice.around(0.0, 4.0)))
    side, twist = dice.around(0.0, 5.0), dice.around(0.0, 9.0)
    poser.trunk(
        pitch=0.6 * lean + dice.around(2.0, 4.0),
        roll=-hang,
        yaw=dice.around(0.0, 8.0),
        bend=0.5 * lean + dice.around(3.0, 8.0),
        side=hang + side,
        twist=twist,
    )
    width = np.where(dice.chance(0.75), dice.between(0.6, 1.7), dice.between(1.0, 3.2))
    lead = dice.around(0.0, 80.0) * poser.scale
    sink = np.where(dice.chance(0.2), dice.between(5.0, 110.0), dice.between(1.0, 14.0)) * poser.scale
    arms.act(poser, arms.STANDING, between=0.22)
    stand_on(poser, stance(poser, width, lead), toes_out(poser), load=load, sink=sink, reserve=25.0)
    arms.gaze(poser)


def reaching(poser: Poser) -> None:
    """A hand or both go as far as they can: up, across, down, to the side; the trunk follows."""
    dice = poser.dice
    azimuth, height = dice.around(20.0, 60.0), dice.between(-75.0, 85.0)  # to the left of +x, above the horizon
    towards = np.radians(azimuth)
    low = np.clip(-height, 0, None)
    lean = dice.between(4.0, 24.0) + 0.55 * low * dice.between(0.6, 1.1)
    both = dice.chance(0.35)
    ahead, aside = np.cos(towards), np.sin(towards)
    poser.trunk(
        pitch=0.6 * lean * ahead,
        roll=0.35 * lean * aside,
        yaw=0.25 * azimuth,
        bend=0.55 * lean * ahead,
        side=0.5 * lean * aside,
        twist=0.35 * azimuth * dice.between(0.3, 1.0),
    )
    arms.act(poser, arms.STANDING)
    level, up = np.cos(np.radians(height)), np.sin(np.radians(height))
    way = poser.row(level * ahead, level * aside, up)[:, None] * np.ones((1, 2, 1))
    way[:, 1, 1] = np.where(both, way[:, 1, 1] - 0.15, way[:, 1, 1])
    way = way * (poser.arm_length * dice.between(0.82, 1.0))[:, None, None]
    way = way + dice.around(np.zeros((2, 3)), 50.0)
    mask = np.stack([np.ones(poser.count, bool), both], axis=1)
    width, lead = dice.between(0.7, 2.2), dice.around(0.0, 170.0) * poser.scale
    heels = np.where(dice.chance(0.3) & (height > 20), 1.0, 0.0)[:, None] * dice.between((0.0, 0.0), (90.0, 90.0))
    heels = np.where(dice.chance(0.5)[:, None], heels, heels.max(axis=1, keepdims=True))
    sink = dice.between(1.0, 18.0) + np.where(low > 30, low * dice.between(0.2, 3.4), 0.0)
    load = np.clip(0.5 + 0.35 * aside * dice.between(0.0, 1.3), 0, 1)
    poser.reach(poser.shoulders() + way, elbow=(-0.2, 0.5, -0.9), mask=mask)
    feet = stance(poser, width, lead, raised=heels * poser.scale[:, None])
    stand_on(poser, feet, toes_out(poser), load=load, sink=sink * poser.scale, reserve=35.0)
    poser.reach(poser.shoulders() + way, elbow=(-0.2, 0.5, -0.9), mask=mask)
    arms.gaze(poser, hands=0.75)


def low_heights(poser: Poser) -> np.ndarray:
    """(N,) heights of wrists that take something from the floor or from something low, mm."""
    dice = poser.dice
    return poser.clearance()[:, WRISTS[0]] + np.where(dice.chance(0.5), dice.between(0, 60), dice.between(0, 450))


def hands_low(poser: Poser, low: np.ndarray, *, one: float = 0.4) -> None:
    """Hands go down to heights ``low`` (N,) in front of the feet; a free hand lies on the thigh or hangs."""
    dice = poser.dice
    shoulders = poser.shoulders()
    target = shoulders + 0.0
    target[..., 0] += dice.between((-80.0, -80.0), (240.0, 240.0)) * poser.scale[:, None]
    target[..., 1] = np.where(dice.chance(0.5)[:, None], target[..., 1], 0.35 * target[..., 1])
    target[..., 1] += dice.around(0.0, 110.0)[:, None]
    target[..., 2] = np.maximum(low[:, None], shoulders[..., 2] - 0.995 * poser.arm_length[:, None])
    free = dice.chance(one)
    arms.act(poser, arms.sides_of(("thigh", "thigh", 2), ("hang", "hang", 1), ("knee", "knee", 1.5), ("any", "any", 1)))
    poser.reach(target, elbow=(-0.3, 0.7, -0.4), mask=np.stack([np.ones(poser.count, bool), ~free], axis=1))


def bending(poser: Poser) -> None:
    """The trunk bends over straight or bent knees: to pick up, to lift, to tie a shoe, to look at something low."""
    dice = poser.dice
    picks = dice.chance(0.65)
    lean = np.where(picks, dice.between(50.0, 112.0), dice.between(22.0, 98.0))
    poser.trunk(
        pitch=lean * dice.between(0.5, 0.85),
        roll=dice.around(0.0, 6.0),
        yaw=dice.around(0.0, 9.0),
        bend=lean * dice.between(0.15, 0.65),
        side=dice.around(0.0, 9.0),
        twist=dice.around(0.0, 16.0),
    )
    sink = np.where(dice.chance(0.45), dice.between(0.01, 0.06), dice.between(0.04, 0.45)) * poser.leg_length
    lead = np.where(dice.chance(0.6), dice.around(0.0, 90.0), dice.around(0.0, 300.0)) * poser.scale
    heel = (
        np.where((lead > 0)[:, None] == (SIGN > 0), 0.0, 1.0) * (np.clip(np.abs(lead) - 150, 0, None) * 0.25)[:, None]
    )
    poser.set_arms(np.tile([60.0, 85.0, 0.0, 15.0], (poser.count, 2, 1)))
    feet, toes, load = stance(poser, dice.between(0.7, 2.4), lead, raised=heel), toes_out(poser), dice.between(0.3, 0.7)
    stand_on(poser, feet, toes, load=load, sink=sink, reserve=45.0)
    low = low_heights(poser)
    # Knees bend as far as the hands need to come down.
    short = poser.shoulders()[..., 2].mean(axis=1) - low - 0.93 * poser.arm_length
    sink = np.maximum(sink, np.minimum(sink + np.where(picks, short, 0.0), 0.55 * poser.leg_length))
    stand_on(poser, feet, toes, load=load, sink=sink, reserve=45.0)
    hands_low(poser, low)
    arms.act(
        poser,
        arms.sides_of(
            ("knee", "knee", 2),
            ("thigh", "thigh", 1),
            ("talk", "talk", 1),
            ("any", "any", 2),
            ("hip", "hip", 0.7),
            ("hang", "hang", 1),
            ("load", "load", 1),
            ("shin", "shin", 1),
            ("ahead", "ahead", 0.5),
            ("back", "back", 0.5),
            ("ankle", "ankle", 0.6),
        ),
        ~picks[:, None],
    )
    arms.gaze(poser, hands=0.6, down=35.0)


def crouching(poser: Poser) -> None:
    """Down in the knees, from half a squat to sitting on the heels, heels up or flat."""
    dice = poser.dice
    depth = dice.between(0.18, 0.74)
    lean = dice.between(-2.0, 42.0) + 30.0 * depth
    poser.trunk(
        pitch=lean * dice.between(0.25, 0.7),
        roll=dice.around(0.0, 5.0),
        yaw=dice.around(0.0, 8.0),
        bend=lean * dice.between(0.2, 0.7),
        side=dice.around(0.0, 6.0),
        twist=dice.around(0.0, 12.0),
    )
    up = np.where(dice.chance(0.55), 1.0, 0.0)[:, None] * np.clip(depth - 0.3, 0, 1)[:, None]
    heels = up * dice.between((100.0, 100.0), (300.0, 300.0)) * poser.scale[:, None]
    split = dice.chance(0.4)
    lead = np.where(split, dice.around(0.0, 190.0), dice.around(0.0, 50.0)) * poser.scale
    feet = stance(poser, dice.between(0.8, 2.6), lead, raised=heels)
    toes = dice.around(0.0, 7.0)[:, None] + dice.between(8.0, 42.0)[:, None] + dice.around(np.zeros(2), 5.0)
    poser.set_arms(np.tile([60.0, 85.0, 0.0, 25.0], (poser.count, 2, 1)))
    stand_on(poser, feet, toes, load=dice.between(0.3, 0.7), sink=depth * poser.leg_length, reserve=55.0)
    kind = dice.chance(0.3)
    arms.act(poser, arms.KNEELING)
    held = poser.arm.copy()
    hands_low(poser, low_heights(poser))
    poser.set_arms(held, ~kind[:, None])
    arms.gaze(poser, hands=0.45, down=15.0)


def carrying(poser: Poser) -> None:
    """A box before the belly, a bag in a hand, a load on the shoulder or overhead; standing, striding or lifting."""
    dice = poser.dice
    kind = dice.pick((4, 2, 1, 1))  # before the body, in one hand, on a shoulder, overhead
    front, bag, shoulder = kind == 0, kind == 1, kind == 2
    lean = np.where(front, dice.between(-12.0, 12.0), dice.between(-3.0, 14.0)) + 25.0 * dice.chance(0.25)
    side = np.where(bag, dice.between(-14.0, 2.0), dice.around(0.0, 4.0))
    poser.trunk(
        pitch=0.5 * lean,
        roll=0.4 * side,
        yaw=dice.around(0.0, 7.0),
        bend=0.6 * lean + 3,
        side=0.6 * side,
        twist=dice.around(0.0, 9.0),
    )
    arms.act(poser, arms.sides_of(("hang", "hang", 3), ("bent", "bent", 1), ("talk", "talk", 1), ("any", "any", 1)))
    stride = dice.chance(0.4)
    lead = np.where(stride, dice.around(0.0, 330.0), dice.around(0.0, 80.0)) * poser.scale
    behind = (lead > 0)[:, None] != (SIGN > 0)
    heel = np.where(stride[:, None] & behind, (0.25 * np.abs(lead))[:, None] * dice.between((0.3,), (1.2,)), 0.0)
    sink = np.where(dice.chance(0.2), dice.between(0.05, 0.4), dice.between(0.003, 0.03)) * poser.leg_length
    stand_on(
        poser,
        stance(poser, dice.between(0.6, 1.5), lead, raised=heel),
        toes_out(poser, 7.0),
        load=dice.between(0.2, 0.8),
        sink=sink,
        reserve=np.where(front, -30.0, 15.0),
    )
    width, ahead, low = dice.between(50.0, 230.0), dice.between(190.0, 340.0), dice.between(-440.0, -60.0)
    box = poser.row(ahead, width, low)[:, None] + dice.around(np.zeros((2, 3)), (25.0, 15.0, 25.0))
    box = box + dice.around(0.0, 60.0)[:, None, None] * [[0, 0, 1.0], [0, 0, -1.0]]  # held aslant
    arms.hold(poser, "chest", box * poser.scale[:, None, None], (-0.5, 0.7, -1.0), front[:, None])
    poser.set_arms(
        dice.between((1.0, 0.0, -20.0, 2.0), (14.0, 95.0, 40.0, 22.0))[:, None] * np.ones((2, 1)),
        (bag[:, None] & ((SIGN > 0) | dice.chance(0.3)[:, None])),
    )
    lift = dice.around((110.0, 175.0, 90.0), 35.0)[:, None] * poser.scale[:, None, None] * np.ones((2, 1))
    arms.hold(poser, "chest", lift, (0.6, 0.8, -0.5), shoulder[:, None] & (SIGN > 0))
    over = (
        dice.between((-60.0, 70.0, 90.0), (160.0, 260.0, 430.0))[:, None] * poser.scale[:, None, None] * np.ones((2, 1))
    )
    arms.hold(poser, "head", over, (0.4, 1.0, 0.0), (kind == 3)[:, None] & ((SIGN > 0) | dice.chance(0.75)[:, None]))
    arms.gaze(poser, hands=0.2)


def pushing(poser: Poser) -> None:
    """Hands against something, or pulling it; the body leans with its weight, one foot well behind the other."""
    dice = poser.dice
    pull = dice.chance(0.4)
    lean = np.where(pull, dice.between(-38.0, 12.0), dice.between(4.0, 55.0))
    poser.trunk(
        pitch=lean * dice.between(0.6, 1.0),
        roll=dice.around(0.0, 5.0),
        yaw=dice.around(0.0, 14.0),
        bend=np.abs(lean) * dice.between(0.0, 0.5),
        side=dice.around(0.0, 6.0),
        twist=dice.around(0.0, 12.0),
    )
    lead = dice.between(60.0, 650.0) * poser.scale * np.where(dice.chance(0.5), 1, -1)
    behind = (lead > 0)[:, None] != (SIGN > 0)
    heel = np.where(behind & ~pull[:, None], (0.22 * np.abs(lead))[:, None], 0.0)
    away = -np.sin(np.radians(lean)) * dice.between(150.0, 520.0) * poser.scale  # feet lag behind the lean
    poser.set_arms(np.tile([85.0, 85.0, 0.0, 20.0], (poser.count, 2, 1)))
    stand_on(
        poser,
        stance(poser, dice.between(0.7, 1.8), lead, raised=heel),
        toes_out(poser),
        load=dice.between(0.3, 0.7),
        sink=dice.between(0.01, 0.35) * poser.leg_length,
        reserve=-away,
    )
    height = dice.between(-420.0, 260.0)
    spot = poser.row(dice.between(240.0, 600.0), dice.between(40.0, 300.0), height)[:, None]
    spot = spot + dice.around(np.zeros((2, 3)), (50.0, 25.0, 50.0))
    mask = np.stack([np.ones(poser.count, bool), dice.chance(0.8)], axis=1)
    arms.act(poser, arms.ACTIVE)
    start = poser.shoulders().mean(axis=1, keepdims=True)
    poser.reach(start + spot * poser.scale[:, None, None] * [[1, 1, 1], [1, -1, 1]], (-0.5, 0.8, -0.6), mask)
    arms.gaze(poser, hands=0.4)


def climbing(poser: Poser) -> None:
    """A foot on a step, a rung or a ledge, the hands on holds ahead and above, or on a rail or the knee."""
    dice = poser.dice
    lean = dice.between(-6.0, 34.0)
    poser.trunk(
        pitch=lean,
        roll=dice.around(0.0, 9.0),
        yaw=dice.around(0.0, 12.0),
        bend=dice.around(6.0, 9.0),
        side=dice.around(0.0, 9.0),
        twist=dice.around(0.0, 12.0),
    )
    high = dice.between(0.08, 0.62) * poser.leg_length
    feet = stance(poser, dice.between(0.7, 2.4), 2 * dice.between(0.02, 0.24) * poser.leg_length)
    feet[:, 0, 2] += high
    feet[:, 1, 2] += np.where(dice.chance(0.5), dice.between(0.0, 110.0), 0.0)
    load = dice.between(0.05, 0.8)
    wall = dice.chance(0.6)
    poser.set_arms(np.tile([100.0, 85.0, 0.0, 30.0], (poser.count, 2, 1)))
    stand_on(
        poser,
        feet,
        toes_out(poser, 14.0, 12.0),
        load=load,
        sink=dice.between(0.01, 0.22) * poser.leg_length,
        reserve=np.where(wall, -dice.between(0.0, 160.0), 20.0),
    )
    arms.act(
        poser,
        arms.sides_of(
            ("knee", "hang", 2),
            ("hang", "hang", 1),
            ("ahead", "hang", 1),
            ("bent", "bent", 1),
            ("any", "any", 1),
            ("thigh", "thigh", 1),
        ),
    )
    hold = dice.between(np.tile([170.0, 20.0, -250.0], (2, 1)), np.tile([480.0, 330.0, 560.0], (2, 1)))
    start = poser.shoulders().mean(axis=1, keepdims=True)
    poser.reach(start + hold * poser.scale[:, None, None] * [[1, 1, 1], [1, -1, 1]], (-0.3, 0.9, -0.6), wall[:, None])
    arms.gaze(poser, hands=0.4, down=0.0, spread=18.0)
