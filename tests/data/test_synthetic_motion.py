"""Bodies and motions of the embedded benchmark: human, and fifteen different actions."""

import itertools

import numpy as np
import pytest

from data.schema import ACTIONS
from data.synthetic.actions import perform
from data.synthetic.bodies import TEST_SUBJECTS, TRAIN_SUBJECTS, body_from_joints, subject_body
from data.synthetic.kinematics import (
    ARM_LIMITS,
    LEG_LIMITS,
    SIDES,
    Motion,
    arm_angles,
    arm_directions,
    leg_angles,
    leg_directions,
)
from utils.errors import DiffPoseError
from utils.skeleton import H36M17

SUBJECTS = (*TRAIN_SUBJECTS, *TEST_SUBJECTS)
ROWS = 33
ARM = {"left": (11, 12, 13), "right": (14, 15, 16)}
LEG = {"left": (4, 5, 6), "right": (1, 2, 3)}


@pytest.fixture(scope="module")
def takes():
    """One long motion of everybody and every action: (subject, action, subaction) -> (33, 17, 3) mm in the world."""
    keys = list(itertools.product(SUBJECTS, ACTIONS, "01"))
    return {
        (subject, action, subaction): perform(
            action, int(subaction), subject_body(subject), 4 * ROWS, np.random.default_rng([0, number])
        )[3::4]
        for number, (subject, action, subaction) in enumerate(keys)
    }


def of_action(takes, action, subaction=None):
    return [joints for (_, a, s), joints in takes.items() if a == action and subaction in (None, s)]


def facing(joints):
    """Forward direction (F, 2) on the floor, from the hips."""
    across = (joints[:, 4] - joints[:, 1])[:, :2]
    forward = np.stack([across[:, 1], -across[:, 0]], axis=-1)
    return forward / np.linalg.norm(forward, axis=-1, keepdims=True)


def ahead(joints, joint, origin=0):
    """How far (F,) a joint lies in front of another one, mm."""
    return np.sum((joints[:, joint] - joints[:, origin])[:, :2] * facing(joints), axis=-1)


def angle(joints, first, middle, last):
    """Bend (F,) in degrees between two bones: 0 when they are in line."""
    one, two = joints[:, middle] - joints[:, first], joints[:, last] - joints[:, middle]
    cosine = np.sum(one * two, axis=-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(two, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def head_distance(joints, joint):
    return np.linalg.norm(joints[:, joint] - (joints[:, 9] + joints[:, 10]) / 2, axis=-1)


def normalised(joints):
    """Root-centred joints turned to one heading, (F, 51)."""
    forward = facing(joints)
    centred = joints - joints[:, :1]
    turned = [
        np.einsum("fjd,fd->fj", centred[..., :2], forward),
        centred[..., 1] * forward[:, :1] - centred[..., 0] * forward[:, 1:],
        centred[..., 2],
    ]
    return np.stack(turned, axis=-1).reshape(len(joints), -1)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_bones_keep_their_lengths_and_left_equals_right(takes, subject):
    poses = np.concatenate([joints for key, joints in takes.items() if key[0] == subject])
    for start, end in H36M17.bones:
        length = np.linalg.norm(poses[:, end] - poses[:, start], axis=-1)
        np.testing.assert_allclose(length, length[0], rtol=1e-9)
    for one, two in (*H36M17.symmetric_bones, ((0, 1), (0, 4))):
        lengths = [np.linalg.norm(poses[0, b] - poses[0, a]) for a, b in (one, two)]
        assert lengths[0] == pytest.approx(lengths[1])
    np.testing.assert_allclose(poses[:, 0], (poses[:, 1] + poses[:, 4]) / 2, atol=1e-9)
    measured, body = body_from_joints(poses), subject_body(subject)
    assert measured.segments == pytest.approx(body.segments)


def test_subjects_differ_and_are_of_human_size():
    bodies = [subject_body(subject) for subject in SUBJECTS]
    for one, two in itertools.combinations(bodies, 2):
        assert max(abs(one.segments[name] - two.segments[name]) for name in one.segments) > 5
    for body in bodies:
        assert 1500 < body.stature < 2000
        assert 0.9 < body.segments["thigh"] / body.segments["shank"] < 1.15
    with pytest.raises(DiffPoseError, match="S2"):
        subject_body("S2")


@pytest.mark.parametrize(
    ("directions", "angles", "limits"),
    [(arm_directions, arm_angles, ARM_LIMITS), (leg_directions, leg_angles, LEG_LIMITS)],
)
def test_angles_and_directions_are_inverse(directions, angles, limits):
    wanted = np.random.default_rng(0).uniform(*np.array(limits).T, (500, 4))
    bones = directions(wanted)
    for bone, again in zip(bones, directions(angles(*bones)), strict=True):
        np.testing.assert_allclose(again, bone, atol=1e-9)


def test_known_poses():
    """Facing +x: left is +y; a lifted arm, a bent elbow and a bent knee are where they should be."""
    body = subject_body("S1")
    motion = Motion(body, 1)
    motion.arm["left"][:] = (90, 0, 0, 2)
    motion.arm["right"][:] = (2, 90, 0, 90)
    motion.leg["right"][:] = (90, 0, 0, 90)
    joints = motion.joints()[0]
    assert joints[4, 1] > 0 > joints[1, 1]
    assert joints[11, 1] > 0 > joints[14, 1]
    np.testing.assert_allclose(joints[12] - joints[11], (0, body.segments["upper_arm"], 0), atol=1e-6)
    assert joints[16, 0] - joints[15, 0] == pytest.approx(body.segments["forearm"], rel=0.01)
    np.testing.assert_allclose(joints[2] - joints[1], (body.segments["thigh"], 0, 0), atol=1e-6)
    np.testing.assert_allclose(joints[3] - joints[2], (0, 0, -body.segments["shank"]), atol=1e-6)
    assert joints[10, 2] > joints[8, 2] > joints[7, 2] > joints[0, 2]


def test_hands_and_feet_reach_what_can_be_reached():
    motion = Motion(subject_body("S9"), 1)
    motion.torso["pelvis"][:, 2] = 130.0
    start = motion.joints()[0]
    target = start[14] + np.array([-200.0, 150.0, -180.0])
    motion.reach("right", target[None])
    foot = start[1] + np.array([0.0, 0.0, -700.0])
    motion.step_to("right", foot[None])
    joints = motion.joints()[0]
    np.testing.assert_allclose(joints[16], target, atol=1e-6)
    np.testing.assert_allclose(joints[3], foot, atol=1e-6)


def test_limits_hold_whatever_is_asked():
    motion = Motion(subject_body("S5"), 300)
    rng = np.random.default_rng(0)
    for group in (motion.torso, motion.arm, motion.leg):
        for name in group:
            group[name] = rng.uniform(-400, 400, group[name].shape)
    joints = motion.joints()
    for side, sign in SIDES.items():
        for part, indices, inverse, limits in (
            ("chest", ARM[side], arm_angles, ARM_LIMITS),
            ("pelvis", LEG[side], leg_angles, LEG_LIMITS),
        ):
            local = np.einsum("fji,fkj->fki", motion.frame_of(part), np.diff(joints[:, indices], axis=1))
            local *= np.array([1.0, sign, 1.0]) / np.linalg.norm(local, axis=-1, keepdims=True)
            bend = inverse(local[:, 0], local[:, 1])[:, 3]
            assert limits[3][0] - 1e-6 <= bend.min() <= bend.max() <= limits[3][1] + 1e-6
            if part == "pelvis":  # its angles are unique, an arm's are not
                found = inverse(local[:, 0], local[:, 1])[:, 1]
                assert limits[1][0] - 1e-6 <= found.min() <= found.max() <= limits[1][1] + 1e-6


def test_joints_bend_as_far_as_humans_do(takes):
    poses = np.concatenate(list(takes.values()))
    for side in SIDES:
        assert angle(poses, *ARM[side]).max() <= 150
        assert angle(poses, *LEG[side]).max() <= 157
        # Abduction, rotation and the knee need no more of the pelvis's frame than the line of the hips: a knee that
        # bent forwards would show as a rotation near 180 degrees.
        across = SIDES[side] * (poses[:, LEG[side][0]] - poses[:, 0])
        up = poses[:, 7] - poses[:, 0]
        frame = np.stack([np.cross(across, up), across, np.cross(np.cross(across, up), across)], axis=-1)
        frame /= np.linalg.norm(frame, axis=1, keepdims=True)
        bones = np.diff(poses[:, LEG[side]], axis=1)
        bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
        thigh, shank = (np.einsum("fji,fj->fi", frame, bones[:, k]) * (1, SIDES[side], 1) for k in (0, 1))
        found = leg_angles(thigh, shank)[:, 1:]
        low, high = np.array(LEG_LIMITS[1:]).T
        assert np.all((found > low - 1e-6) & (found < high + 1e-6))
    assert angle(poses, 0, 7, 8).max() < 60
    assert angle(poses, 8, 9, 10).max() < 95


def test_feet_are_on_the_floor_and_nothing_is_below_it(takes):
    for (subject, action, _), joints in takes.items():
        ankle = subject_body(subject).ankle_height
        lower = np.minimum(joints[:, 3, 2], joints[:, 6, 2])
        assert joints[..., 2].min() > 0, (subject, action)
        if action != "SittingDown":
            assert np.abs(lower - ankle).max() < 15, (subject, action)
            assert np.all(joints[:, 9, 2] > np.maximum(joints[:, 3, 2], joints[:, 6, 2]))


def test_people_face_all_ways(takes):
    forward = np.array([facing(joints).mean(axis=0) for joints in takes.values()])
    quadrant = (forward[:, 0] > 0) * 2 + (forward[:, 1] > 0)
    assert np.bincount(quadrant, minlength=4).min() > 0.15 * len(takes)


@pytest.mark.parametrize("action", ["Sitting", "Eating", "Phoning", "Smoking"])
def test_who_sits_on_a_chair_sits(takes, action):
    for joints in of_action(takes, action, None if action in ("Sitting", "Eating") else "1"):
        knees = joints[:, (2, 5), 2].mean(axis=1)
        assert np.all((joints[:, 0, 2] > 330) & (joints[:, 0, 2] < 680))
        assert np.abs(joints[:, 0, 2] - knees).max() < 200
        assert angle(joints, 7, 0, 2).min() > 25
        assert np.all(joints[:, 8, 2] - joints[:, 0, 2] > 330)
        assert min(ahead(joints, knee).min() for knee in (2, 5)) > 150


def test_sitting_down_reaches_the_floor(takes):
    assert all(joints[:, 0, 2].max() < 180 for joints in of_action(takes, "SittingDown", "0"))
    lowered = np.concatenate(of_action(takes, "SittingDown", "1"))[:, 0, 2]
    assert lowered.min() < 200
    assert lowered.max() > 600
    assert 0.2 < np.mean(lowered < 350) < 0.9


def test_phoning_holds_a_hand_at_the_head(takes):
    for joints in of_action(takes, "Phoning"):
        assert np.minimum(head_distance(joints, 13), head_distance(joints, 16)).max() < 200


def test_photo_holds_both_hands_before_the_face(takes):
    for joints in of_action(takes, "Photo"):
        for wrist in (13, 16):
            assert np.linalg.norm(joints[:, wrist] - joints[:, 9], axis=-1).max() < 330
            assert np.median(ahead(joints, wrist, 9)) > 30


@pytest.mark.parametrize("action", ["Eating", "Smoking"])
def test_a_hand_goes_to_the_mouth_and_away_again(takes, action):
    nearest = np.concatenate(
        [np.minimum(head_distance(joints, 13), head_distance(joints, 16)) for joints in of_action(takes, action)]
    )
    assert 0.15 < np.mean(nearest < 230) < 0.85
    assert np.mean(nearest > 330) > 0.15


def test_walking_swings_opposite_arm_and_leg(takes):
    for joints in of_action(takes, "Walking"):
        for side, opposite in (("left", "right"), ("right", "left")):
            wrist = ahead(joints, ARM[side][2], ARM[side][0])
            assert np.corrcoef(wrist, ahead(joints, LEG[side][2], LEG[side][0]))[0, 1] < -0.4
            assert np.corrcoef(wrist, ahead(joints, LEG[opposite][2], LEG[opposite][0]))[0, 1] > 0.4


def test_standing_feet_do_not_slide_in_walking():
    joints = perform("Walking", 0, subject_body("S6"), 200, np.random.default_rng(3))
    ankles = joints[:, (3, 6)]
    speed = np.linalg.norm(np.diff(ankles[..., :2], axis=0), axis=-1) * 50 / 1000  # m/s
    standing = ankles[:-1, :, 2].argmin(axis=1)
    slide = np.take_along_axis(speed, standing[:, None], axis=1)
    advance = np.linalg.norm(np.diff(joints[:, 0, :2], axis=0), axis=-1).sum() / 1000 / 4
    assert np.median(slide) < 0.25
    assert 0.5 < advance < 2.0


def test_other_actions_do_what_their_names_say(takes):
    lowest = []
    for joints in of_action(takes, "Purchases"):
        hand = np.minimum(joints[:, 13, 2], joints[:, 16, 2])
        lowest.append(hand.min())
        assert hand.max() > 600, "what is picked up comes up"
    assert max(lowest) < 450
    assert np.median(lowest) < 330
    for joints in of_action(takes, "Waiting", "0"):
        left = np.stack([-facing(joints)[:, 1], facing(joints)[:, 0]], axis=-1)
        for wrist, elbow, sign in ((13, 12, 1), (16, 15, -1)):
            aside = sign * np.sum((joints[:, wrist] - joints[:, elbow])[:, :2] * left, axis=-1)
            assert np.median(aside) < -120, "crossed forearms point to the other side"
    for action in ("WalkDog", "Directions"):
        for joints in of_action(takes, action):
            out = [np.linalg.norm(joints[:, arm[2]] - joints[:, arm[0]], axis=-1) for arm in ARM.values()]
            assert max(np.median(reach) for reach in out) > 430, f"{action} stretches an arm out"
            down = [np.median(joints[:, arm[2], 2] - joints[:, 0, 2]) for arm in ARM.values()]
            assert max(down) > 60
    for joints in of_action(takes, "Greeting"):
        raised = [np.mean(joints[:, arm[2], 2] > joints[:, arm[0], 2]) for arm in ARM.values()]
        assert max(raised) > 0.6, "a greeting hand is above the shoulder"


def test_linear_probe_tells_the_actions_apart(takes):
    features, labels = {}, {}
    for split, subjects in (("train", TRAIN_SUBJECTS), ("test", TEST_SUBJECTS)):
        chosen = [(action, joints) for (subject, action, _), joints in takes.items() if subject in subjects]
        features[split] = np.concatenate([normalised(joints) for _, joints in chosen])
        labels[split] = np.concatenate([np.full(ROWS, ACTIONS.index(action)) for action, _ in chosen])
    mean, spread = features["train"].mean(axis=0), features["train"].std(axis=0) + 1.0
    inputs = {split: np.c_[(x - mean) / spread, np.ones(len(x))] for split, x in features.items()}
    gram = inputs["train"].T @ inputs["train"] + 10.0 * np.eye(inputs["train"].shape[1])
    weights = np.linalg.solve(gram, inputs["train"].T @ np.eye(len(ACTIONS))[labels["train"]])
    right = (inputs["test"] @ weights).argmax(axis=1) == labels["test"]
    assert right.mean() > 0.6
    per_action = [right[labels["test"] == number].mean() for number in range(len(ACTIONS))]
    assert np.mean(np.array(per_action) > 2 / len(ACTIONS)) > 0.9


def test_no_two_actions_are_copies(takes):
    poses = {action: np.concatenate([normalised(joints) for joints in of_action(takes, action)]) for action in ACTIONS}
    for one, two in itertools.combinations(ACTIONS, 2):
        apart = np.abs(poses[one].mean(axis=0) - poses[two].mean(axis=0))
        spread = np.sqrt((poses[one].var(axis=0) + poses[two].var(axis=0)) / 2) + 5.0
        ratio = np.abs(np.log((poses[one].std(axis=0) + 5.0) / (poses[two].std(axis=0) + 5.0)))
        assert (apart / spread).max() > 0.5 or ratio.max() > np.log(2), (one, two)


def test_subactions_and_subjects_differ(takes):
    for action in ACTIONS:
        means = [normalised(joints).mean(axis=0) for joints in of_action(takes, action)]
        for one, two in itertools.combinations(means, 2):
            assert np.abs(one - two).max() > 30, action
        moving = [normalised(joints).std(axis=0).max() for joints in of_action(takes, action)]
        assert min(moving) > 15, action
