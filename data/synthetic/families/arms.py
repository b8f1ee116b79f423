"""What arms do: places for the hands on and around the body, free gestures, and everything between two of them."""

from dataclasses import dataclass

import numpy as np

from data.synthetic.families.poser import LEFT, MIRROR, Poser, apply
from data.synthetic.families.support import palms
from data.synthetic.kinematics import UP

PARTS = ("pelvis", "chest", "head", "thigh", "shin", "other arm", "front", "floor")


@dataclass(frozen=True)
class Place:
    """Where a wrist goes: (forward, outward, up) mm of a 1.75 m body from a part of it, and where the elbow points."""

    part: str
    offset: tuple[float, float, float]
    spread: float | tuple[float, float, float]
    elbow: tuple[float, float, float]


@dataclass(frozen=True)
class Gesture:
    """An arm by its angles: bounds of (elevation, plane, rotation, elbow), degrees."""

    low: tuple[float, float, float, float]
    high: tuple[float, float, float, float]


ARMS: dict[str, Place | Gesture] = {
    "hang": Gesture((2, 0, -20, 3), (22, 95, 50, 40)),
    "swing": Gesture((-45, 60, -10, 5), (50, 95, 40, 95)),
    "bent": Gesture((0, 20, 0, 60), (40, 100, 70, 125)),
    "ahead": Gesture((35, 50, -40, 2), (115, 120, 60, 80)),
    "aside": Gesture((40, -35, -70, 2), (115, 45, 60, 60)),
    "raised": Gesture((95, -20, -90, 2), (170, 110, 40, 100)),
    "wave": Gesture((60, 0, -100, 40), (130, 60, -50, 120)),
    "back": Gesture((-55, 30, -20, 2), (-8, 100, 60, 70)),
    "any": Gesture((-10, -50, -90, 2), (150, 125, 90, 130)),
    "hip": Place("pelvis", (10, 195, 95), 18, (-0.55, 1.0, -0.2)),
    "pocket": Place("pelvis", (55, 200, -45), 16, (-1.0, 0.45, -0.3)),
    "back pocket": Place("pelvis", (-130, 120, -30), 18, (-1.0, 0.6, -0.2)),
    "behind back": Place("pelvis", (-150, 15, 60), (16, 20, 50), (-0.7, 1.0, -0.4)),
    "behind head": Place("head", (-115, 50, -35), 16, (0.1, 1.0, 0.35)),
    "on head": Place("head", (10, 80, 105), 22, (0.3, 1.0, 0.2)),
    "ear": Place("head", (35, 125, -45), 14, (0.4, 0.75, -0.8)),
    "chin": Place("head", (115, 40, -120), 22, (0.3, 0.5, -1.0)),
    "face": Place("head", (150, 70, 0), (40, 40, 50), (0.2, 0.7, -1.0)),
    "brow": Place("head", (130, 70, 60), 20, (0.5, 1.0, -0.2)),
    "shoulder": Place("chest", (140, -60, -40), 35, (0.5, 0.4, -1.0)),
    "own shoulder": Place("chest", (110, 190, -20), 25, (0.6, 0.8, -0.8)),
    "heart": Place("chest", (160, 0, -150), 35, (0.1, 0.8, -0.8)),
    "belly": Place("chest", (175, -40, -310), (25, 50, 45), (-0.1, 0.9, -0.8)),
    "upper crossed": Place("chest", (215, -115, -220), 18, (0.25, 0.75, -1.0)),
    "lower crossed": Place("chest", (190, -115, -265), 18, (0.25, 0.75, -1.0)),
    "talk": Place("chest", (290, 150, -200), (85, 95, 110), (-0.5, 0.6, -1.0)),
    "screen": Place("chest", (270, 30, -140), (50, 40, 60), (-0.2, 0.6, -1.0)),
    "high": Place("head", (60, 150, 330), (140, 90, 110), (0.3, 0.8, 0.2)),
    "load": Place("chest", (270, 150, -260), (60, 50, 90), (-0.5, 0.6, -1.0)),
    "low load": Place("pelvis", (270, 160, 0), (60, 60, 80), (-0.7, 0.6, -0.6)),
    "clasped": Place("chest", (265, 38, -250), (8, 6, 8), (-0.3, 0.9, -0.8)),
    "low clasped": Place("pelvis", (150, 38, 0), (8, 6, 8), (-0.4, 1.0, -0.5)),
    "prayer": Place("chest", (220, 38, -60), (8, 6, 8), (0.0, 1.0, -0.6)),
    "overhead clasped": Place("head", (30, 38, 330), (8, 6, 8), (0.2, 1.0, 0.1)),
    "lap": Place("pelvis", (190, 60, 95), (40, 40, 18), (-0.4, 0.8, -0.9)),
    "thigh": Place("thigh", (0, 0, 85), (75, 25, 12), (-0.4, 0.8, -0.8)),
    "knee": Place("thigh", (70, 0, 80), (25, 20, 10), (-0.2, 0.8, -0.8)),
    "shin": Place("shin", (70, -20, 20), (20, 40, 80), (-0.2, 0.8, -0.8)),
    "ankle": Place("shin", (60, 0, -150), (20, 30, 30), (-0.2, 0.8, -0.8)),
    "table": Place("front", (330, 140, 190), (80, 80, 30), (-0.4, 0.8, -0.8)),
    "seat side": Place("front", (-30, 230, 20), (60, 30, 20), (-1.0, 0.5, -0.3)),
    "arm rest": Place("front", (130, 270, 210), (50, 30, 20), (-0.8, 0.7, -0.6)),
    "elbow": Place("other arm", (30, 0, -10), 20, (-0.1, 0.8, -0.9)),
    "floor behind": Place("floor", (-230, 60, 0), (90, 60, 0), (-1.0, 0.5, 0.0)),
    "floor beside": Place("floor", (20, 170, 0), (90, 90, 0), (-0.8, 0.8, 0.0)),
    "floor ahead": Place("floor", (220, 20, 0), (120, 70, 0), (-0.4, 0.9, 0.0)),
}
NAMES = tuple(ARMS)


def carry_table(field: str, width: int) -> np.ndarray:
    """(arms, width) one field of every entry of :data:`ARMS`; zeros where the entry has none."""
    rows = [np.broadcast_to(getattr(entry, field, 0.0), (width,)) for entry in ARMS.values()]
    return np.array(rows, dtype=np.float64)


LOW, HIGH = carry_table("low", 4), carry_table("high", 4)
OFFSET, SPREAD, ELBOW = (carry_table(field, 3) for field in ("offset", "spread", "elbow"))
PART = np.array([PARTS.index(entry.part) if isinstance(entry, Place) else -1 for entry in ARMS.values()])


def sides_of(*pairs: tuple[str, str, float]) -> tuple[np.ndarray, np.ndarray]:
    """A repertoire out of (left arm, right arm, weight): indices (K, 2) into :data:`NAMES`, and weights (K,)."""
    return np.array([[NAMES.index(a), NAMES.index(b)] for a, b, _ in pairs]), np.array([w for *_, w in pairs])


STANDING = sides_of(
    ("hang", "hang", 5),
    ("bent", "bent", 1.5),
    ("any", "any", 2),
    ("hang", "any", 2.5),
    ("bent", "any", 1),
    ("hip", "hip", 1),
    ("hang", "hip", 1.2),
    ("pocket", "pocket", 1.2),
    ("hang", "pocket", 1),
    ("talk", "pocket", 0.8),
    ("talk", "talk", 2.5),
    ("hang", "talk", 1.5),
    ("upper crossed", "lower crossed", 1.5),
    ("behind back", "behind back", 0.8),
    ("ear", "hang", 0.8),
    ("ear", "belly", 0.5),
    ("ear", "talk", 0.4),
    ("chin", "elbow", 0.5),
    ("chin", "belly", 0.5),
    ("face", "face", 0.8),
    ("face", "hang", 0.8),
    ("screen", "screen", 1),
    ("screen", "hang", 1),
    ("brow", "hip", 0.3),
    ("behind head", "behind head", 0.5),
    ("on head", "hang", 0.4),
    ("ahead", "hang", 1.2),
    ("ahead", "ahead", 0.8),
    ("aside", "hang", 0.6),
    ("aside", "aside", 0.8),
    ("wave", "hang", 0.8),
    ("wave", "pocket", 0.3),
    ("raised", "hang", 0.7),
    ("raised", "raised", 0.8),
    ("high", "high", 0.6),
    ("load", "load", 1),
    ("clasped", "clasped", 0.8),
    ("low clasped", "low clasped", 0.9),
    ("prayer", "prayer", 0.3),
    ("overhead clasped", "overhead clasped", 0.3),
    ("shoulder", "hang", 0.4),
    ("own shoulder", "hang", 0.3),
    ("heart", "hang", 0.3),
    ("elbow", "hang", 0.6),
    ("back pocket", "hang", 0.3),
    ("back", "back", 0.3),
    ("thigh", "hang", 0.3),
)
SITTING = sides_of(
    ("lap", "lap", 2),
    ("thigh", "thigh", 2.5),
    ("thigh", "lap", 1),
    ("knee", "knee", 1),
    ("table", "table", 2.5),
    ("table", "chin", 0.6),
    ("table", "face", 0.8),
    ("table", "lap", 0.8),
    ("table", "talk", 0.8),
    ("arm rest", "arm rest", 1),
    ("arm rest", "thigh", 0.6),
    ("seat side", "seat side", 0.5),
    ("talk", "talk", 1.2),
    ("talk", "thigh", 1),
    ("upper crossed", "lower crossed", 0.8),
    ("ear", "thigh", 0.7),
    ("ear", "table", 0.4),
    ("screen", "screen", 1),
    ("face", "thigh", 0.6),
    ("chin", "elbow", 0.4),
    ("clasped", "clasped", 0.8),
    ("behind head", "behind head", 0.4),
    ("any", "thigh", 1),
    ("any", "any", 1),
    ("raised", "thigh", 0.4),
    ("hang", "thigh", 0.6),
    ("hang", "hang", 0.5),
    ("shin", "thigh", 0.3),
    ("ahead", "thigh", 0.5),
)
ON_FLOOR = sides_of(
    ("floor behind", "floor behind", 2.5),
    ("floor behind", "knee", 1),
    ("floor beside", "thigh", 1),
    ("floor beside", "floor beside", 0.8),
    ("knee", "knee", 1.5),
    ("shin", "shin", 1.5),
    ("ankle", "ankle", 0.7),
    ("thigh", "thigh", 1),
    ("lap", "lap", 1),
    ("talk", "talk", 0.7),
    ("talk", "floor beside", 0.7),
    ("any", "thigh", 0.7),
    ("any", "any", 0.6),
    ("screen", "screen", 0.6),
    ("face", "floor beside", 0.5),
    ("chin", "knee", 0.4),
    ("ear", "knee", 0.3),
    ("raised", "raised", 0.3),
    ("floor ahead", "floor ahead", 0.7),
    ("floor ahead", "thigh", 0.5),
)
ACTIVE = sides_of(
    ("aside", "aside", 2),
    ("ahead", "ahead", 1),
    ("raised", "raised", 1),
    ("any", "any", 3),
    ("hip", "hip", 1),
    ("bent", "bent", 1),
    ("swing", "swing", 1),
    ("raised", "aside", 1),
    ("hang", "hang", 1),
    ("overhead clasped", "overhead clasped", 0.7),
    ("prayer", "prayer", 0.5),
    ("clasped", "clasped", 0.5),
    ("aside", "hip", 0.6),
    ("ahead", "back", 0.7),
    ("ahead", "aside", 0.7),
)
KNEELING = sides_of(
    ("thigh", "thigh", 2),
    ("knee", "knee", 1),
    ("hang", "hang", 1.5),
    ("talk", "talk", 1),
    ("floor ahead", "floor ahead", 1.5),
    ("floor ahead", "thigh", 1),
    ("load", "load", 1),
    ("any", "any", 1),
    ("ahead", "ahead", 0.7),
    ("hip", "hip", 0.5),
    ("clasped", "clasped", 0.5),
    ("prayer", "prayer", 0.4),
    ("face", "face", 0.3),
    ("raised", "raised", 0.4),
    ("any", "thigh", 0.8),
    ("screen", "screen", 0.4),
    ("lap", "lap", 0.6),
    ("floor beside", "thigh", 0.6),
)


def anchors(poser: Poser) -> np.ndarray:
    """Origins (N, 2, parts, 3), mm, in the world, of every part of :data:`PARTS`, for a left and a right hand."""
    head = poser.pelvis + (poser.points["nose"] + poser.points["head"]) / 2
    knees, ankles = poser.legs()
    thighs = 0.35 * poser.hips() + 0.65 * knees
    elbows, _ = poser.arms()
    centre = {
        "pelvis": poser.pelvis,
        "chest": poser.pelvis + poser.points["thorax"],
        "head": head,
        "front": poser.pelvis,
    }
    each = {
        "thigh": thighs,
        "shin": (knees + ankles) / 2,
        "other arm": elbows[:, ::-1],
        "floor": palms(poser, 0.0, 0.0),
    }
    both = [np.broadcast_to(centre[p][:, None], knees.shape) if p in centre else each[p] for p in PARTS]
    return np.stack(both, axis=2)


def upright_frame(poser: Poser) -> np.ndarray:
    """(N, 3, 3) a level frame with the body's heading."""
    forward = poser.root[:, :, 0] + poser.root[:, :, 2] * 0.3
    forward = forward * (1.0, 1.0, 0.0)
    forward /= np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-6)
    up = np.broadcast_to(UP, forward.shape)
    return np.stack([forward, np.cross(up, forward), up], axis=-1)


def frames(poser: Poser) -> np.ndarray:
    """(N, parts, 3, 3) in which the offsets of places are given."""
    level = upright_frame(poser)
    own = poser.frames
    return np.stack([own["pelvis"], own["chest"], own["head"], level, level, own["chest"], level, level], axis=1)


def apply_styles(poser: Poser, style: np.ndarray, mask, *, shared: float) -> None:
    """Arms by their entries ``style`` (N, 2) of :data:`ARMS`, where ``mask`` (N, 2)."""
    dice, count = poser.dice, poser.count
    place = (PART[style] >= 0) & mask
    angles = LOW[style] + (HIGH - LOW)[style] * dice.rng.uniform(size=(count, 2, 4))
    poser.set_arms(angles, mask & ~place)
    if not place.any():
        return
    noise = np.clip(dice.rng.standard_normal((count, 2, 3)), -2.2, 2.2)
    offset = OFFSET[style] + SPREAD[style] * noise
    together = dice.around(np.zeros(3), shared)[:, None] * np.where(style[:, :1] == style[:, 1:], 1.0, 0.3)[..., None]
    offset = (offset * MIRROR + together) * poser.scale[:, None, None]
    part = np.maximum(PART[style], 0)
    row, side = np.arange(count)[:, None], np.arange(2)[None]
    start = anchors(poser)[row, side, part]
    frame = frames(poser)[row, part]
    target = start + np.einsum("nsij,nsj->nsi", frame, offset)
    elbow = ELBOW[style] + 0.22 * np.clip(dice.rng.standard_normal((count, 2, 3)), -2, 2)
    poser.reach(target, elbow, place)
    touching = place & (part == PARTS.index("other arm"))
    if touching.any():  # the other arm has only now found its place
        elbows, _ = poser.arms()
        poser.reach(elbows[:, ::-1] + np.einsum("nsij,nsj->nsi", frame, offset), elbow, touching)


def act(poser: Poser, repertoire: tuple[np.ndarray, np.ndarray], mask=True, *, between: float = 0.2) -> None:
    """Arms at random out of a repertoire, where ``mask`` (N, 2).

    between: share of the poses whose arms are on their way from one entry to another.
    """
    mask = np.broadcast_to(mask, (poser.count, 2))
    pairs, weights = repertoire
    style = pairs[poser.dice.pick(weights)]
    style = np.where(poser.dice.chance(0.5)[:, None], style, style[:, ::-1])
    shared = 0.0 if between == 0.0 else 22.0
    apply_styles(poser, style, mask, shared=shared)
    moving = poser.dice.chance(between)[:, None] & mask
    if moving.any():
        first, held = poser.arm.copy(), poser.held.copy()
        other = pairs[poser.dice.pick(weights)]
        apply_styles(poser, other, moving, shared=shared)
        share = poser.dice.between(0.15, 0.85)[:, None, None]
        poser.set_arms(share * first + (1 - share) * poser.arm, moving)
        poser.held[:, :2] = np.where(moving, False, held[:, :2])


def hold(poser: Poser, part: str, offset: np.ndarray, elbow=(-0.3, 0.8, -0.8), mask=True) -> None:
    """Wrists to (forward, outward, up) offsets (N, 2, 3), mm, from 'pelvis', 'chest' or 'head', in its frame."""
    start = {
        "pelvis": 0.0 * poser.points["thorax"],
        "chest": poser.points["thorax"],
        "head": (poser.points["nose"] + poser.points["head"]) / 2,
    }[part]
    target = (poser.pelvis + start)[:, None] + apply(poser.frames[part], offset * MIRROR)
    poser.reach(target, elbow, mask)


def gaze(poser: Poser, *, hands: float = 0.3, down: float = 8.0, spread: float = 22.0) -> None:
    """Where the face looks: ahead of the body and around, or (share ``hands``) at the hands."""
    dice = poser.dice
    level = upright_frame(poser)
    pitch, turn = np.radians(dice.around(down, 13.0)), np.radians(dice.around(0.0, spread))
    local = poser.row(np.cos(turn) * np.cos(pitch), np.sin(turn) * np.cos(pitch), -np.sin(pitch))
    ahead = np.einsum("nij,nj->ni", level, local)
    _, wrists = poser.arms()
    hand = wrists[:, LEFT] * 0.5 + wrists[:, 1] * 0.5
    hand = np.where(dice.chance(0.5)[:, None], hand, wrists[:, LEFT]) - poser.pelvis - poser.points["nose"]
    hand = hand / np.maximum(np.linalg.norm(hand, axis=-1, keepdims=True), 1.0)
    # Only hands in front of the chest are looked at.
    seen = dice.chance(hands) & (np.einsum("ni,ni->n", hand, poser.frames["chest"][:, :, 0]) > 0.1)
    poser.look(np.where(seen[:, None], hand, ahead), dice.between(0.55, 1.0))
