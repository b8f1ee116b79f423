"""People on their hands: on all fours, planks, getting up from the floor, bridges, handstands and cartwheels."""

import numpy as np

from data.synthetic.families import arms
from data.synthetic.families.poser import ELBOWS, WRISTS, Poser, heading
from data.synthetic.families.resting import ankles_at, kneel
from data.synthetic.families.support import knees_down, palms, stand_on
from data.synthetic.families.upright import SIGN, stance
from data.synthetic.kinematics import UP


def level_trunk(poser: Poser, hips: np.ndarray, shoulders: np.ndarray, *, bend, side=0.0, twist=0.0, roll=0.0) -> None:
    """Pitch the trunk so that hips and shoulders come to the given heights (N,), mm."""
    length = 0.97 * (poser.size["lumbar"] + poser.size["thoracic"])
    rise = np.degrees(np.arcsin(np.clip((shoulders - hips) / length, -0.97, 0.97)))
    poser.trunk(pitch=90.0 - rise - 0.6 * bend, roll=roll, bend=bend, side=side, twist=twist, noise=0.7)
    poser.pelvis[:, 2] = hips


def crawling(poser: Poser) -> None:
    """On all fours, on hands or forearms; planks and push-ups; a hand or a leg lifted; hips high like a bear."""
    dice = poser.dice
    poser.lie_down()
    kind = dice.pick((4, 2.5, 1.2, 1))  # on the knees, plank, bear, on knees and forearms
    knees, plank, bear, fore = (kind == k for k in range(4))
    forearms = fore | (plank & dice.chance(0.3))
    palm = poser.clearance()[:, WRISTS[0]]
    straight = np.where(plank, dice.between(0.35, 0.985), dice.between(0.72, 0.985))
    shoulders = palm + poser.arm_length * straight
    shoulders = np.where(
        forearms, poser.clearance()[:, ELBOWS[0]] + poser.size["upper_arm"] * dice.between(0.85, 0.99), shoulders
    )
    slope = dice.around(2.0, 14.0)
    kneeling = poser.clearance()[:, 2] + poser.size["thigh"] * np.cos(np.radians(slope))
    trunk = poser.size["lumbar"] + poser.size["thoracic"]
    toes = poser.ankle + dice.between(20.0, 60.0)
    line = toes + (shoulders - toes) * poser.leg_length / (poser.leg_length + trunk) + dice.around(10.0, 25.0)
    hips = np.where(
        plank,
        line,
        np.where(
            bear, np.minimum(shoulders + trunk * dice.between(-0.1, 0.85), toes + 0.9 * poser.leg_length), kneeling
        ),
    )
    level_trunk(
        poser,
        hips,
        shoulders,
        bend=np.where(plank, 0.0, 8.0) + dice.around(0.0, 9.0),
        side=dice.around(0.0, 5.0),
        twist=dice.around(0.0, 7.0),
        roll=dice.around(0.0, 4.0),
    )
    knees_down(
        poser,
        dice.around(0.0, 2.0)[:, None] + slope[:, None] * 0 + dice.around((3.0, 3.0), 5.0),
        180 + dice.around((0.0, 0.0), 9.0),
        (knees | fore)[:, None],
    )
    drop = np.clip(hips - toes, 10, None)
    reach = np.sqrt(
        np.clip((poser.leg_length * np.where(plank, 0.995, dice.between(0.55, 0.98))) ** 2 - drop**2, 400, None)
    )
    own = np.where(bear[:, None], dice.around((0.0, 0.0), 110.0), 0.0)
    feet = ankles_at(poser, own - reach[:, None], dice.between(30.0, 260.0)[:, None], toes[:, None])
    poser.step(feet, heading(dice.around((0.0, 0.0), 12.0) * SIGN) * 0.6 - 0.6 * UP, (plank | bear)[:, None])
    target = palms(
        poser, dice.around(20.0, 60.0)[:, None] + dice.around((0.0, 0.0), 60.0), dice.around((20.0, 20.0), 55.0)
    )
    poser.reach(
        target, np.stack([dice.around(-0.3, 0.4), dice.between(0.2, 1.0), dice.around(-0.8, 0.3)], axis=-1)[:, None]
    )
    on_forearms(poser, forearms)
    lift_limbs(poser, ~forearms, ~bear)
    down = 0.8 * UP * -np.sin(np.radians(dice.between(0.0, 80.0)))[:, None]
    poser.look(heading(dice.around(0.0, 22.0)) + down, dice.between(0.2, 1.0))


def lift_limbs(poser: Poser, hands: np.ndarray, legs: np.ndarray) -> None:
    """Sometimes a hand leaves the floor where ``hands`` (N,), sometimes a leg where ``legs`` (N,)."""
    dice = poser.dice
    lifted = dice.chance(0.25) & hands
    arms.act(
        poser,
        arms.sides_of(("ahead", "ahead", 1), ("raised", "raised", 2), ("aside", "aside", 1), ("any", "any", 1)),
        lifted[:, None] & (SIGN > 0),
    )
    free = dice.between((-28.0, -5.0, -10.0, 3.0), (30.0, 35.0, 25.0, 80.0))
    up = dice.chance(0.2) & legs
    poser.set_legs(np.stack([free, free], axis=1), up[:, None] & (SIGN < 0))


def on_forearms(poser: Poser, mask: np.ndarray) -> None:
    """Forearms flat on the floor under the shoulders, (N,) of bool."""
    dice, shoulder = poser.dice, poser.shoulders()
    elbow = shoulder + np.stack(
        [dice.around((0.0, 0.0), 35.0), 25.0 * SIGN * np.ones((poser.count, 1)), np.zeros((poser.count, 2))], axis=-1
    )
    elbow[..., 2] = poser.clearance()[:, ELBOWS]
    poser.aim_arms(elbow - shoulder, heading(dice.around((-12.0, -12.0), 16.0) * SIGN) - 0.015 * UP, mask[:, None])


def getting_up(poser: Poser) -> None:
    """From the floor to the feet: on a knee with a hand on the other, on hands and feet, from the seat over a hand."""
    dice = poser.dice
    poser.lie_down()
    kind = dice.pick((2, 1.5, 2))  # on a knee, on hands and feet, seat lifted over a hand behind
    knee, feet, seat = (kind == k for k in range(3))
    lean = np.where(knee, dice.between(15, 70), np.where(feet, dice.between(55, 105), dice.between(-42, 5)))
    poser.trunk(
        pitch=0.6 * lean,
        roll=dice.around(0.0, 8.0),
        yaw=dice.around(0.0, 10.0),
        bend=np.where(seat, 20, 0.45 * lean),
        side=dice.around(0.0, 10.0),
        twist=dice.around(0.0, 15.0),
    )
    kneel(poser, dice.between(2.0, 60.0), dice.between(-8.0, 22.0))
    front = ankles_at(
        poser,
        (poser.size["thigh"] * dice.between(0.45, 1.1))[:, None],
        (poser.size["hip"] * dice.between(0.5, 2.0))[:, None],
        poser.ankle[:, None],
    )
    towards = heading(dice.around(14.0, 14.0)[:, None] * SIGN) + 0.7 * UP
    poser.step(front, towards, np.stack([np.ones(poser.count, bool), np.zeros(poser.count, bool)], axis=1))
    whole = poser.rows(np.arange(poser.count))
    lead = dice.around(0.0, 240.0) * poser.scale
    raised = dice.between((0.0, 0.0), (110.0, 110.0))
    stand_on(
        whole,
        stance(whole, dice.between(0.8, 2.4), lead, raised=raised),
        dice.around((12.0, 12.0), 10.0),
        load=dice.between(0.3, 0.7),
        sink=dice.between(0.12, 0.62) * poser.leg_length,
        reserve=dice.between(0.0, 260.0),
    )
    up = feet[:, None]
    poser.pelvis = np.where(up, whole.pelvis, poser.pelvis)
    poser.leg = np.where(up[..., None], whole.leg, poser.leg)
    poser.pelvis[:, 2] = np.where(seat, poser.clearance()[:, 0] + dice.between(0.0, 300.0), poser.pelvis[:, 2])
    near = ankles_at(
        poser,
        poser.leg_length[:, None] * dice.between((0.4, 0.4), (0.72, 0.72)),
        poser.size["hip"][:, None] * dice.between((0.5, 0.5), (1.8, 1.8)),
        poser.ankle[:, None],
    )
    poser.step(near, towards, seat[:, None])
    behind = arms.sides_of(
        ("floor behind", "floor behind", 2), ("floor beside", "ahead", 1), ("floor behind", "knee", 2)
    )
    ahead = arms.sides_of(
        ("floor ahead", "knee", 3), ("floor ahead", "floor ahead", 2), ("knee", "knee", 1), ("knee", "any", 1)
    )
    arms.act(poser, ahead, between=0.15)
    arms.act(poser, behind, seat[:, None], between=0.15)
    arms.gaze(poser, hands=0.3)


def legs_in_the_air(poser: Poser, wheel: np.ndarray) -> None:
    """Together, apart, one bent, or (where ``wheel`` (N,)) straddled."""
    dice = poser.dice
    free = dice.between((-28.0, -4.0, -8.0, 2.0), (75.0, 40.0, 20.0, 70.0))
    second = np.where(
        dice.chance(0.5)[:, None],
        free + dice.around(np.zeros(4), 6.0),
        dice.between((-28.0, 0.0, -8.0, 2.0), (60.0, 40.0, 20.0, 70.0)),
    )
    straddle = dice.between((-5.0, 25.0, 0.0, 2.0), (15.0, 58.0, 25.0, 20.0))
    legs = np.stack([free, second], axis=1)
    poser.set_legs(np.where(wheel[:, None, None], straddle[:, None] + dice.around(np.zeros((2, 4)), 5.0), legs))


def inverted(poser: Poser) -> None:
    """Hands below: handstands, cartwheels, bridges; the candle on the shoulders and the glute bridge."""
    dice = poser.dice
    poser.lie_down()
    kind = dice.pick((2, 2, 1.5, 1.5, 1.5))  # handstand, cartwheel, bridge, glute bridge, candle
    wheel, bridge, glute, candle = (kind == k for k in range(1, 5))
    palm, ankle = poser.clearance()[:, WRISTS[0]], poser.ankle
    pitch = np.choose(
        kind,
        [
            180 + dice.around(0, 16),
            180 + dice.around(0, 8),
            -118 + dice.around(0, 8),
            -112 + dice.around(0, 10),
            -160 + dice.around(0, 14),
        ],
    )
    roll = np.where(wheel, dice.between(-75.0, 75.0), dice.around(0.0, 4.0))
    bend = np.choose(
        kind,
        [dice.around(-8, 8), dice.around(0, 8), dice.between(-30, -22), dice.between(-10, 18), dice.between(10, 50)],
    )
    poser.trunk(pitch=pitch, roll=roll, bend=bend, side=dice.around(0.0, 5.0), twist=dice.around(0.0, 6.0))
    legs_in_the_air(poser, wheel)
    poser.set_arms(dice.between(((160.0, 20.0, -20.0, 2.0),) * 2, ((170.0, 90.0, 30.0, 20.0),) * 2))
    poser.pelvis[:, 2] = np.choose(
        kind,
        [
            0,
            0,
            palm + poser.leg_length * dice.between(0.6, 0.8),
            ankle + poser.size["shank"] * dice.between(0.5, 0.85),
            0,
        ],
    )
    poser.held[:, :2] = True
    poser.settle()
    arch = bridge | glute
    feet = ankles_at(
        poser,
        poser.leg_length[:, None] * dice.between(0.3, 0.5)[:, None] + dice.around((0.0, 0.0), 30.0),
        poser.size["hip"][:, None] * dice.between((0.6, 0.6), (1.8, 1.8)),
        ankle[:, None],
    )
    poser.step(feet, heading(dice.around((5.0, 5.0), 9.0) * SIGN) + 1.5 * UP, arch[:, None])
    low = poser.shoulders()
    low[..., 0] += np.where(bridge, -60.0, dice.between(80.0, 420.0))[:, None]
    low[..., 1] += SIGN * dice.between(20.0, 140.0)[:, None]
    low[..., 2] = palm[:, None]
    poser.reach(low, np.where(bridge[:, None, None], (0.6, 0.4, 0.8), (-1.0, 0.5, 0.0)), (arch | candle)[:, None])
    poser.arm = np.where((candle & dice.chance(0.7))[:, None, None], [[[-20.0, 80.0, 20.0, 100.0]]], poser.arm)
    poser.look(
        poser.frames["chest"][:, :, 0] + np.where(candle | glute, 1.2, -0.5)[:, None] * poser.frames["chest"][:, :, 2]
    )
