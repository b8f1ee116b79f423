"""People in motion: walking, running, lunging, balancing, kicking, jumping, throwing and striking, dancing."""

import numpy as np

from data.synthetic.families import arms
from data.synthetic.families.poser import Poser
from data.synthetic.families.support import stand_on
from data.synthetic.families.upright import SIGN, stance, toes_out
from data.synthetic.postures import GAIT_CYCLE, gait


def phases(poser: Poser) -> np.ndarray:
    """(N, 2) phase of each leg's cycle, 0 at the heel's contact, half a cycle apart."""
    phase = poser.dice.between(0.0, 1.0)
    return np.stack([phase, (phase + 0.5) % 1.0], axis=1)


def swing_arms(poser: Poser, phase: np.ndarray, amount, bend) -> None:
    """Each arm swings against the leg of its side. amount, bend: (N,) extent and the elbow's mean, degrees."""
    dice = poser.dice
    cosine = np.cos(GAIT_CYCLE * (phase - 0.96))
    forward = dice.around((0.0, 0.0), 7.0) - 26.0 * amount[:, None] * cosine
    elbow = bend[:, None] + 15.0 * amount[:, None] * np.clip(-cosine, -0.6, 1.0)
    plane, inward = dice.around((80.0, 80.0), 12.0), dice.around((20.0, 20.0), 14.0)
    poser.set_arms(np.stack([forward, plane, inward, elbow], axis=-1))


def stride(poser: Poser, phase: np.ndarray, length, *, lean) -> None:
    """Legs of a walk by its phase, with the trunk's counter turn; the body is settled on the lower foot."""
    dice = poser.dice
    tilt = 3.0 * np.sin(GAIT_CYCLE * phase[:, 0]) + dice.around(0.0, 2.0)
    counter = np.cos(GAIT_CYCLE * phase[:, 0])
    turn = dice.around(0.0, 12.0)
    poser.trunk(
        pitch=0.5 * lean + dice.around(2.0, 3.0),
        roll=tilt + 0.2 * turn,
        yaw=-5.0 * length * counter,
        bend=0.5 * lean + dice.around(2.0, 8.0),
        side=-tilt + dice.around(0.0, 4.5),
        twist=8.0 * length * counter + turn,
    )
    hip, knee = gait(phase, length[:, None])
    knee = knee / np.maximum(length, 1.0)[:, None] ** 0.7  # long strides bend the knees no more than others
    hip = hip + poser.dice.around((0.0, 0.0), 5.0) + 0.5 * lean[:, None]
    knee = knee + np.abs(poser.dice.around((0.0, 0.0), 4.0))
    wide, out = dice.around((1.0, 1.0), 4.0), dice.around((6.0, 6.0), 9.0)
    poser.set_legs(np.stack([hip, wide, out, knee], axis=-1))
    poser.settle()


def walking(poser: Poser) -> None:
    """Any phase of a walk, strides from shuffling to long, straight on or in a turn, arms swinging or busy."""
    dice = poser.dice
    phase, length = phases(poser), dice.between(0.35, 1.5)
    stride(poser, phase, length, lean=np.where(dice.chance(0.2), dice.between(5, 28), dice.between(-4, 8)))
    swing_arms(poser, phase, length * dice.between(0.4, 1.6), dice.between(6.0, 50.0))
    busy = dice.chance(0.42)[:, None] & ((SIGN > 0) | dice.chance(0.5)[:, None])
    arms.act(poser, arms.STANDING, busy)
    arms.gaze(poser, hands=0.1)


def running(poser: Poser) -> None:
    """From a jog to a sprint: bent arms against the legs, a trunk that leans, the knees high; often in the air."""
    dice = poser.dice
    phase, pace = phases(poser), dice.between(0.5, 1.5)
    counter = np.cos(GAIT_CYCLE * phase[:, 0])
    poser.trunk(
        pitch=dice.around(9.0, 5.0) + 4 * pace,
        roll=dice.around(0.0, 3.0),
        yaw=-8.0 * pace * counter,
        bend=dice.around(4.0, 5.0),
        side=dice.around(0.0, 4.0),
        twist=15.0 * pace * counter,
    )
    cycle = GAIT_CYCLE * (phase - 0.93)
    hip = 18.0 + pace[:, None] * (34.0 * np.cos(cycle) + 6.0) + dice.around((0.0, 0.0), 6.0)
    apart = np.abs(phase - 0.68)
    fold = np.exp(-((np.minimum(apart, 1 - apart) / 0.17) ** 2))
    knee = 20.0 + pace[:, None] * 72.0 * fold + np.abs(dice.around((0.0, 0.0), 7.0))
    poser.set_legs(np.stack([hip, dice.around((0.0, 0.0), 3.0), dice.around((4.0, 4.0), 6.0), knee], axis=-1))
    swing_arms(poser, phase, 1.35 * pace * dice.between(0.6, 1.2), dice.between(55.0, 115.0))
    poser.airborne = np.where(dice.chance(0.5), dice.between(0.0, 110.0), 0.0)
    poser.settle()
    arms.gaze(poser, hands=0.0, down=2.0)


def lunging(poser: Poser) -> None:
    """One foot far ahead or to the side, the body low over bent knees, the rear heel up."""
    dice = poser.dice
    sideways = dice.chance(0.3)
    reach = dice.between(0.55, 1.25) * poser.leg_length
    lean = np.where(dice.chance(0.4), dice.between(10.0, 65.0), dice.around(4.0, 9.0))
    poser.trunk(
        pitch=0.6 * lean,
        roll=dice.around(0.0, 6.0),
        yaw=dice.around(0.0, 14.0),
        bend=0.5 * lean,
        side=dice.around(0.0, 10.0),
        twist=dice.around(0.0, 20.0),
    )
    lead = np.where(sideways, dice.around(0.0, 90.0), reach)
    width = np.where(sideways, 0.5 * reach / poser.size["hip"], dice.between(0.3, 1.5))
    heel = np.where(sideways[:, None], 0.0, dice.between((0.0, 0.0), (0.0, 0.24)) * poser.leg_length[:, None])
    load = np.where(sideways, dice.between(0.2, 0.9), dice.between(0.45, 0.85))
    arms.act(poser, arms.ACTIVE)
    sink = dice.between(0.04, 0.34) * poser.leg_length
    toes = np.where(sideways[:, None], dice.between((10.0, 10.0), (45.0, 45.0)), dice.around((3.0, 8.0), (7.0, 12.0)))
    stand_on(poser, stance(poser, width, lead, raised=heel), toes, load=load, sink=sink, reserve=15.0)
    arms.act(
        poser,
        arms.sides_of(
            ("thigh", "thigh", 2),
            ("knee", "knee", 1),
            ("floor ahead", "floor ahead", 1.5),
            ("floor ahead", "raised", 1),
            ("thigh", "any", 1),
        ),
        dice.chance(0.3)[:, None],
    )
    arms.gaze(poser, hands=0.25)


def on_one_leg(poser: Poser, *, lean, side, bend, free, load_sink, twist=0.0) -> None:
    """Stand on the right leg with the left leg's angles ``free`` (N, 4), the centre of mass over the right foot."""
    count = poser.count
    poser.trunk(pitch=lean, roll=side, yaw=poser.dice.around(0.0, 9.0), bend=bend, side=-0.6 * side, twist=twist)
    poser.set_legs(np.stack([free, free], axis=1))
    arms.act(poser, arms.ACTIVE)
    planted = np.tile([False, True], (count, 1))
    stand_on(
        poser,
        stance(poser, np.ones(count), 0.0),
        toes_out(poser, 6.0),
        load=0.0,
        sink=load_sink,
        planted=planted,
        reserve=20.0,
    )


BALANCES = np.array(
    [  # lean, side, bend; flexion, abduction, rotation, knee of the free leg: low and high
        [(45, -12, -8, -30, -5, -10, 2), (88, 12, 12, 2, 15, 20, 45)],  # the airplane
        [(-4, -8, -5, 35, 38, 45, 95), (8, 6, 8, 85, 60, 80, 140)],  # the tree
        [(-18, -6, -4, 40, -5, -10, 2), (12, 8, 22, 112, 18, 20, 60)],  # leg raised in front
        [(-6, -32, -6, -5, 25, -15, 2), (14, -4, 12, 45, 60, 45, 70)],  # leg raised to the side
        [(-3, -6, -8, -28, -3, -10, 75), (30, 6, 8, 12, 10, 10, 150)],  # the foot behind
        [(-8, -8, -6, 50, -8, -20, 60), (10, 8, 25, 128, 20, 35, 145)],  # the knee up
    ],
    dtype=np.float64,
)


def balancing(poser: Poser) -> None:
    """On one leg: airplane, tree, a leg raised in front, aside or behind, the knee at the chest; arms out or busy."""
    dice = poser.dice
    kind, drawn = dice.pick_row(BALANCES[:, 0], BALANCES[:, 1])
    on_one_leg(
        poser,
        lean=drawn[:, 0],
        side=drawn[:, 1],
        bend=drawn[:, 2],
        free=drawn[:, 3:],
        load_sink=dice.between(0.003, 0.09) * poser.leg_length,
        twist=dice.around(0.0, 9.0),
    )
    # A hand holds the foot behind, or the raised knee.
    knees, ankles = poser.legs()
    holds = ((kind == 4) | (kind == 5)) & dice.chance(0.6)
    target = np.where((kind == 4)[:, None, None], ankles, knees + np.array([60.0, 0.0, 40.0]))
    mask = np.stack([holds, holds & (kind == 5) & dice.chance(0.5)], axis=1)
    poser.reach(target[:, [0, 0]], np.where((kind == 4)[:, None, None], (-1.0, 0.5, 0.3), (0.0, 1.0, -0.5)), mask)
    arms.gaze(poser, hands=0.1, spread=16.0)


def kicking(poser: Poser) -> None:
    """The swing of a kick, from the leg drawn back to the leg stretched high; the other arm goes with it."""
    dice = poser.dice
    share = dice.between(0.0, 1.0)  # of the way from behind to the end
    flexion = -28 + 135 * share * dice.between(0.55, 1.0)
    knee = np.clip(100 * (1 - share) * dice.between(0.3, 1.0) + dice.around(10, 8), 2, 130)
    free = np.stack([flexion, dice.between(-8, 42), dice.around(8, 18), knee], axis=-1)
    on_one_leg(
        poser,
        lean=14 - 38 * share + dice.around(0, 8),
        side=-dice.between(0, 24) * share,
        bend=dice.around(5, 10),
        free=free,
        load_sink=dice.between(0.01, 0.1) * poser.leg_length,
        twist=25 * (share - 0.4) + dice.around(0, 8),
    )
    counter = np.stack([(2 * share - 1) * -35 - 10, (2 * share - 1) * 50 + 10], axis=1)
    wide = dice.between((15.0, 15.0), (70.0, 70.0))
    angles = np.stack(
        [wide, np.clip(counter + 40, -40, 110), dice.around((0.0, 0.0), 25), dice.between((5, 5), (70, 70))], axis=-1
    )
    poser.set_arms(angles, dice.chance(0.7)[:, None])
    arms.gaze(poser, hands=0.0, down=14.0)


JUMPS = np.array(
    [  # pitch, bend; flexion, abduction, knee of the left leg, then of the right: low and high
        [(-5, 5, 60, -5, 60, 60, -5, 60), (35, 40, 130, 30, 150, 130, 30, 150)],  # tucked
        [(-18, -18, -20, -3, 2, -20, -3, 2), (10, 6, 14, 14, 35, 14, 14, 35)],  # stretched
        [(-8, -8, -10, 18, 2, -10, 18, 2), (12, 10, 35, 50, 30, 35, 50, 30)],  # star
        [(-8, -6, 30, -5, 2, -30, -5, 5), (22, 18, 95, 20, 90, 0, 20, 100)],  # a leap
        [(0, 5, 50, -3, 2, 50, -3, 2), (35, 35, 100, 45, 25, 100, 45, 25)],  # piked
        [(-20, -14, -15, -5, 60, -15, -5, 60), (12, 5, 25, 20, 130, 25, 20, 130)],  # feet behind
        [(5, 0, 5, -3, 10, 5, -3, 10), (40, 30, 75, 25, 90, 75, 25, 90)],  # taking off and landing
    ],
    dtype=np.float64,
)


def jumping(poser: Poser) -> None:
    """In the air: tucked, stretched, star, leap, pike; the arms anywhere, often both alike."""
    dice = poser.dice
    kind, drawn = dice.pick_row(JUMPS[:, 0], JUMPS[:, 1])
    alike = np.isin(kind, (0, 1, 2, 4, 6)) & dice.chance(0.8)
    poser.trunk(
        pitch=drawn[:, 0],
        roll=dice.around(0.0, 9.0),
        yaw=0.0,
        bend=drawn[:, 1],
        side=dice.around(0.0, 7.0),
        twist=dice.around(0.0, 14.0),
    )
    legs = drawn[:, 2:].reshape(-1, 2, 3)
    legs = np.where(alike[:, None, None], legs[:, :1] + dice.around(np.zeros((2, 3)), 6.0), legs)
    poser.set_legs(np.stack([legs[..., 0], legs[..., 1], dice.around((8.0, 8.0), 14.0), legs[..., 2]], axis=-1))
    arms.act(poser, arms.ACTIVE, between=0.3)
    poser.airborne = np.where(kind == 6, dice.between(0.0, 60.0), dice.between(20.0, 600.0))
    poser.settle()
    arms.gaze(poser, hands=0.1, spread=16.0)


THROWS = np.array(
    [  # spine twist (to the left), side, bend; then left arm, right arm: low and high
        [
            (-45, -10, -18, 70, 20, -40, 5, 60, -55, -100, 50),
            (-8, 14, 8, 110, 100, 30, 70, 125, 5, -30, 120),
        ],  # drawn back
        [
            (0, -5, -4, 20, 0, -20, 30, 95, 25, -70, 5),
            (35, 26, 18, 80, 90, 60, 120, 165, 100, 10, 60),
        ],  # let go, served
        [(10, -10, 10, 0, 10, 0, 20, 15, 60, 0, 5), (45, 16, 40, 50, 90, 50, 110, 75, 130, 80, 70)],  # followed through
        [
            (-40, -8, -4, 40, 50, -20, 10, 35, -40, -30, 5),
            (0, 10, 16, 100, 120, 40, 70, 95, 30, 40, 60),
        ],  # forehand, back
        [
            (-5, -8, 0, 25, -10, -30, 20, 50, 70, -10, 5),
            (45, 12, 22, 80, 70, 50, 110, 110, 135, 60, 60),
        ],  # forehand, on
        [(10, -6, 0, 30, 30, 0, 40, 30, 105, 20, 10), (45, 10, 22, 80, 130, 70, 110, 85, 140, 100, 90)],  # backhand
        [(-20, -10, 5, 15, -20, -20, 5, -55, 60, -10, 2), (15, 8, 45, 90, 80, 40, 60, 60, 100, 40, 30)],  # bowled
        [(-25, -6, 2, 35, 60, -10, 80, 35, 60, -10, 85), (25, 8, 20, 75, 105, 70, 140, 75, 105, 70, 145)],  # guard
        [(-10, -8, 2, 60, 70, -30, 2, 30, 50, -10, 85), (30, 12, 24, 100, 115, 40, 25, 75, 105, 70, 145)],  # punched
    ],
    dtype=np.float64,
)


def throwing(poser: Poser) -> None:
    """Throws, serves, rackets, bats, bowls, boxes: an arm or both at work, the trunk twisted, the feet in a step."""
    dice = poser.dice
    kind, drawn = dice.pick_row(THROWS[:, 0], THROWS[:, 1])
    twist, side, bend = drawn[:, 0], drawn[:, 1], drawn[:, 2]
    low = np.where(kind == 6, dice.between(0.05, 0.34), dice.between(0.01, 0.2))
    poser.trunk(
        pitch=0.4 * bend + np.where(kind == 6, 18.0, 3.0) * dice.between(0.0, 1.6),
        roll=0.3 * side,
        yaw=0.6 * twist + dice.around(0.0, 12.0),
        bend=0.7 * bend,
        side=side,
        twist=twist,
    )
    poser.set_arms(drawn[:, 3:].reshape(-1, 2, 4))
    lead = dice.around(260.0, 190.0) * poser.scale
    heel = np.clip(np.stack([-lead, lead], axis=1), 0, None) * dice.between((0.0, 0.0), (0.3, 0.3))
    load = np.where(np.isin(kind, (0, 3)), dice.between(0.0, 0.6), dice.between(0.4, 1.0))
    feet = stance(poser, dice.between(0.8, 2.6), lead, raised=heel)
    stand_on(poser, feet, toes_out(poser, 14.0, 14.0), load=load, sink=low * poser.leg_length, reserve=25.0)
    # A bat, a club or a stick: both hands together.
    both = np.isin(kind, (3, 4, 5, 6)) & dice.chance(0.35)
    _, wrists = poser.arms()
    near = wrists[:, [1, 1]] + dice.around(np.zeros(3), 22.0)[:, None] + [0.0, 30.0, 30.0]
    poser.reach(near, (0.1, 0.8, -0.8), np.stack([both, np.zeros_like(both)], axis=1))
    arms.gaze(poser, hands=0.15, down=4.0)


def dancing(poser: Poser) -> None:
    """Turns, steps and sways: hips and chest against each other, arms in arcs, a leg free or toes only."""
    dice = poser.dice
    hip = dice.around(0.0, 12.0)
    poser.trunk(
        pitch=dice.around(2.0, 9.0),
        roll=hip,
        yaw=dice.around(0.0, 24.0),
        bend=dice.around(0.0, 13.0),
        side=-hip + dice.around(0.0, 13.0),
        twist=dice.around(0.0, 24.0),
    )
    arms.act(poser, arms.ACTIVE, between=0.5)
    free = dice.chance(0.35)
    leg = dice.between((-28.0, -8.0, -10.0, 2.0), (80.0, 45.0, 45.0, 120.0))
    poser.set_legs(np.stack([leg, leg], axis=1))
    lead = dice.around(0.0, 230.0) * poser.scale
    heels = dice.between((0.0, 0.0), (100.0, 100.0)) * np.where(dice.chance(0.6), 1.0, 0.0)[:, None]
    feet = stance(poser, dice.between(-0.4, 2.8), lead, raised=heels * poser.scale[:, None])
    planted = np.stack([~free, np.ones_like(free)], axis=1)
    stand_on(
        poser,
        feet,
        toes_out(poser, 16.0, 16.0),
        load=dice.between(0.0, 1.0),
        planted=planted,
        sink=dice.between(0.005, 0.16) * poser.leg_length,
        reserve=20.0,
    )
    arms.gaze(poser, hands=0.2, spread=30.0)
