"""The fifteen actions of Human3.6M as motions, each in two subactions."""

from collections.abc import Callable
from functools import partial

import numpy as np

from data.synthetic import gestures as hands
from data.synthetic import postures
from data.synthetic.bodies import Body
from data.synthetic.gestures import at, main_hand, other
from data.synthetic.kinematics import SIDES, UP, Motion, rotation, turn
from data.synthetic.rhythms import FRAME_RATE, between, ease, swing, wander


def directions(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Shows the way: one arm points, or both; the body turns towards it."""
    postures.stand(motion, rng, time, turning=45.0)
    side = main_hand(rng)
    hands.point(motion, rng, time, side)
    if variant:
        hands.point(motion, rng, time, other(side))
    else:
        hands.rest_hand(motion, rng, time, other(side), (hands.hang, hands.hang, hands.hand_on_hip))


def discussion(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Talks with the hands in front of the body."""
    postures.stand(motion, rng, time, turning=30.0, stagger=90.0)
    motion.torso["neck"][:, 2] += wander(rng, time, 0.0, 12.0, every=0.6)
    side = main_hand(rng)
    hands.talk_with(motion, rng, time, side)
    free = (hands.hand_in_pocket, hands.hand_on_hip, hands.talk_with) if variant else (hands.talk_with,)
    hands.rest_hand(motion, rng, time, other(side), free)


def eating(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """On a chair, bent to a table; one hand (variant 1: each in turn) goes to the mouth."""
    postures.sit_on_chair(motion, rng, time, legs=str(rng.choice(["square", "tucked"])), recline=-8.0)
    motion.torso["lumbar"][:, 0] += 8.0
    motion.torso["neck"][:, 0] += 12.0
    side = main_hand(rng)
    period = rng.uniform(1.5, 2.1)
    for name in SIDES:
        plate = at(motion, "pelvis", name, wander(rng, time, (330.0, 95.0, 225.0), (18.0, 22.0, 10.0)))
        if name == side or variant:
            hands.hand_to_mouth(motion, rng, time, name, plate, period=period, stay=0.15)
        else:
            motion.reach(name, plate, elbow=(-0.2, 0.9, -0.8))


def greeting(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Waves with one hand; variant 1 opens both arms and bows to somebody between waves."""
    postures.stand(motion, rng, time, turning=25.0, lean=between(rng, time, 0.0, 26.0) if variant else 0.0)
    side = main_hand(rng)
    hands.wave(motion, rng, time, side)
    if variant and rng.uniform() < 0.5:
        hands.wave(motion, rng, time, other(side))
    elif variant:
        motion.arm[other(side)] = wander(rng, time, (52.0, 32.0, -25.0, 32.0), (12.0, 14.0, 10.0, 12.0))
    else:
        hands.hang(motion, rng, time, other(side))


def phoning(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """A hand holds the telephone at the ear: standing and turning, or (variant 1) on a chair."""
    side = main_hand(rng)
    free = other(side)
    if variant:
        legs = str(rng.choice(["square", "crossed", "stretched"]))
        postures.sit_on_chair(motion, rng, time, legs=legs, recline=between(rng, time, 0, 14))
        rest: tuple[Callable, ...] = (hands.hand_on_thigh, hands.hand_on_thigh, hands.talk_with)
    else:
        postures.stand(motion, rng, time, turning=70.0, stagger=110.0)
        rest = (hands.hand_in_pocket, hands.hand_on_hip, hands.talk_with, hands.hang)
    hands.hand_to_ear(motion, rng, time, side)
    hands.rest_hand(motion, rng, time, free, rest)


def photo(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Both hands hold a camera at the face; variant 1 goes down in the knees and leans for the picture."""
    dip = 8.0 + (motion.body.leg * between(rng, time, 0.10, 0.36) if variant else 0.0)
    lean = between(rng, time, 8.0, 26.0) if variant else 4.0
    postures.stand(motion, rng, time, turning=45.0, stance=1.25, stagger=150.0, dip=dip, lean=lean)
    motion.torso["neck"][:, 0] += 6.0 - 0.5 * np.asarray(lean)
    hands.camera_at_face(motion, rng, time)


def posing(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Holds a model's poses: weight on one leg, hands on the hips or behind the head; variant 1 stretches an arm up."""
    postures.stand(motion, rng, time, turning=40.0, stance=1.5, shift=80.0, stagger=170.0)
    motion.torso["chest"] += wander(rng, time, (-5.0, 0.0, 0.0), (4.0, 8.0, 14.0))
    side = main_hand(rng)
    hands.hand_on_hip(motion, rng, time, other(side))
    if variant:
        motion.arm[side] = wander(rng, time, (142.0, 30.0, -10.0, 28.0), (14.0, 24.0, 18.0, 14.0))
    else:
        hands.rest_hand(motion, rng, time, side, (hands.hand_behind_head, hands.hand_on_hip))


def purchases(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Bends down (variant 1: squats) to pick something up, and lifts it before the body."""
    depth = postures.pick_up(motion, rng, time, squat=bool(variant))
    side = main_hand(rng)
    reach_down = ease((depth - 0.3) / 0.6)
    for name in SIDES:
        held = at(motion, "chest", name, wander(rng, time, (290.0, 120.0, -260.0), (28.0, 24.0, 40.0)))
        shoulder = motion.trunk_points()[f"{name} shoulder"]
        below = np.array([150.0, 0.0, -0.93 * motion.body.arm])
        low = shoulder + turn(rotation("z", motion.torso["pelvis"][:, 2]), below)
        if name == side or variant:
            motion.reach(name, hands.mix(held, low, reach_down))
        else:
            knee, _ = motion.leg_points(name)
            motion.reach(name, hands.mix(held, knee + 60.0 * UP, reach_down))


def sitting(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Sits on a chair; the hands lie on the thighs, in the lap or crossed. Variant 1 leans back."""
    legs = rng.choice(["crossed", "stretched"]) if variant else rng.choice(["square", "tucked", "wide"])
    postures.sit_on_chair(motion, rng, time, legs=str(legs), recline=between(rng, time, 6, 22) if variant else -3.0)
    on_thighs = [partial(hands.hand_on_thigh, motion, rng, time, side) for side in SIDES]
    hands.alternate(
        motion,
        rng,
        time,
        [
            lambda: hands.hands_in_lap(motion, rng, time),
            lambda: hands.arms_crossed(motion, rng, time),
            lambda: [place() for place in on_thighs],
        ],
    )


def sitting_down(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Sits on the floor in several ways; variant 1 lowers itself there and gets up again."""
    if variant:
        down = postures.lower_to_floor(motion, rng, time)
        for side in SIDES:
            ahead = at(motion, "chest", side, wander(rng, time, (380.0, 180.0, -230.0), (40.0, 40.0, 60.0)))
            behind = at(motion, "pelvis", side, wander(rng, time, (-190.0, 270.0, 10.0), (25.0, 30.0, 5.0)))
            behind[:, 2] = np.maximum(behind[:, 2], 60.0)
            motion.reach(side, hands.mix(ahead, behind, ease((down - 0.6) / 0.35)), elbow=(-0.8, 0.7, -0.3))
        return
    legs = str(rng.choice(["long", "cross", "knees_up", "side"]))
    postures.sit_on_floor(motion, rng, time, legs=legs)
    for side in SIDES:
        places = (hands.palm_on_floor, hands.hand_on_shin if legs in ("knees_up", "cross") else hands.hand_on_thigh)
        hands.rest_hand(motion, rng, time, side, places)


def smoking(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """A cigarette goes to the mouth and back; the other arm lies across the belly. Variant 1 sits, legs crossed."""
    side = main_hand(rng)
    if variant:
        postures.sit_on_chair(motion, rng, time, legs="crossed", recline=between(rng, time, 4, 16))
        rest = at(motion, "pelvis", side, wander(rng, time, (300.0, 240.0, 190.0), (25.0, 30.0, 20.0)))
    else:
        postures.stand(motion, rng, time, turning=35.0, shift=70.0, stagger=100.0)
        rest = at(motion, "chest", side, wander(rng, time, (270.0, 210.0, -170.0), (30.0, 35.0, 40.0)))
    across = at(motion, "chest", other(side), wander(rng, time, (165.0, -70.0, -300.0), 14.0))
    motion.reach(other(side), across, elbow=(0.1, 0.8, -1.0))
    hands.hand_to_mouth(motion, rng, time, side, rest, period=rng.uniform(2.2, 3.0), stay=0.35)


def waiting(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Shifts the weight from foot to foot with crossed arms; variant 1: hands behind the back, or at the watch."""
    postures.stand(motion, rng, time, turning=40.0, shift=95.0, stagger=110.0)
    motion.torso["neck"][:, 2] += wander(rng, time, 0.0, 22.0)
    if not variant:
        hands.arms_crossed(motion, rng, time)
        return
    side = other(main_hand(rng))
    watch = rng.uniform() < 0.5
    hands.hand_behind_back(motion, rng, time, other(side))
    (hands.look_at_watch if watch else hands.hand_behind_back)(motion, rng, time, side)


def walking(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Walks around, arms against legs; variant 1 strides out."""
    stride = rng.uniform(1.1, 1.25) if variant else rng.uniform(0.85, 1.0)
    phase = postures.walk(motion, rng, time, pace=rng.uniform(0.8, 1.0), stride=stride)
    amount, bend = rng.uniform(0.8, 1.35), rng.uniform(14.0, 44.0)
    for side in SIDES:
        postures.arm_swing(motion, phase, side, amount=amount, bend=bend)


def walk_dog(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Walks with an arm held out by the lead; variant 1 is pulled, leaning back, or bends down to the dog."""
    side = main_hand(rng)
    phase = postures.walk(motion, rng, time, pace=rng.uniform(0.75, 0.95), stride=rng.uniform(0.7, 0.95))
    if variant:
        stoop = ease(swing(rng, time, 2.4) * 1.6 - 0.4)
        motion.torso["lumbar"][:, 0] += 38.0 * stoop - 6.0
        motion.torso["chest"][:, 0] += 26.0 * stoop - 4.0
    hands.hold_lead(motion, rng, time, side)
    postures.arm_swing(motion, phase, other(side), amount=0.6)


def walk_together(motion: Motion, rng: np.random.Generator, time: np.ndarray, variant: int) -> None:
    """Walks slowly beside somebody: arms linked, or (variant 1) an arm around the other's shoulders."""
    side = main_hand(rng)
    phase = postures.walk(motion, rng, time, pace=rng.uniform(0.65, 0.85), stride=rng.uniform(0.65, 0.85))
    hands.link_arms(motion, rng, time, side, around=bool(variant), phase=phase)
    postures.arm_swing(motion, phase, other(side), amount=0.7)


ACTIONS: dict[str, Callable[[Motion, np.random.Generator, np.ndarray, int], None]] = {
    "Directions": directions,
    "Discussion": discussion,
    "Eating": eating,
    "Greeting": greeting,
    "Phoning": phoning,
    "Photo": photo,
    "Posing": posing,
    "Purchases": purchases,
    "Sitting": sitting,
    "SittingDown": sitting_down,
    "Smoking": smoking,
    "Waiting": waiting,
    "WalkDog": walk_dog,
    "WalkTogether": walk_together,
    "Walking": walking,
}
# How far from the middle of the space between the cameras people stand, mm; some takes are at the edge of the room,
# where the nearest pictures cut limbs off.
PLACE_SPREAD = (420.0, 620.0)
EDGE_PROBABILITY = 0.15
EDGE_RADIUS = (1500.0, 2050.0)


def perform(action: str, variant: int, body: Body, frames: int, generator: np.random.Generator) -> np.ndarray:
    """Joints (frames, 17, 3) in the world, mm, at 50 frames a second, of one take of an action.

    variant: subaction 0 or 1. The floor is z = 0; the heading and the place in the room are drawn.
    """
    joints = perform_at(action, variant, body, np.arange(frames) / FRAME_RATE, generator)
    return joints + draw_place(action, generator)


def draw_place(action: str, generator: np.random.Generator) -> np.ndarray:
    """Where in the room, (3,) mm, somebody does something: about the middle, now and then at the edge."""
    spread = 0.3 if action.startswith("Walk") else 1.0
    place = spread * np.array(PLACE_SPREAD) * np.clip(generator.standard_normal(2), -2.0, 2.0)
    if generator.uniform() < EDGE_PROBABILITY:
        angle = generator.uniform(0, 2 * np.pi)
        place = generator.uniform(*EDGE_RADIUS) * np.array([np.cos(angle), np.sin(angle)])
    return np.array([*place, 0.0])


def perform_at(action: str, variant: int, body: Body, time: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Joints (F, 17, 3) in the world, mm, of one take of an action, at times (F,) in seconds that may lie far apart.

    The floor is z = 0; the heading is drawn, and the take goes on somewhere about the origin.
    """
    motion = Motion(body, len(time))
    ACTIONS[action](motion, generator, time, variant)
    return motion.joints()
