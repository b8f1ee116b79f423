"""Random poses of the wide world: human, on the floor, left as often as right, and all different."""

import numpy as np
import pytest

from data.synthetic.bodies import Body, subject_body
from data.synthetic.families import BLENDED, FAMILIES, MIRRORED, POSES, draw_pose, pose_family
from data.synthetic.families.blending import between_rotations, imbalance
from data.synthetic.families.poser import CLEARANCE, MASS, Poser
from data.synthetic.families.support import centre_of_mass, unlikeliness
from data.synthetic.kinematics import ARM_LIMITS, LEG_LIMITS, TORSO_LIMITS, Motion, leg_angles, rotation
from utils.errors import DiffPoseError
from utils.skeleton import H36M17

COUNT = 160
BODY = subject_body("S7")
ARM, LEG = ((11, 12, 13), (14, 15, 16)), ((4, 5, 6), (1, 2, 3))
ON_FEET = ("standing", "walking", "bending", "crouching", "reaching", "carrying", "lunging", "balancing", "kicking")
FLOOR = CLEARANCE * BODY.scale


@pytest.fixture(scope="module")
def poses():
    """Family -> joints (COUNT, 17, 3), mm, of one body."""
    return {name: draw_pose(np.random.default_rng(1), BODY, COUNT, family=name)[0] for name in FAMILIES}


def bend(joints, first, middle, last):
    """Bend (N,) in degrees between two bones: 0 when they are in line."""
    one, two = joints[:, middle] - joints[:, first], joints[:, last] - joints[:, middle]
    cosine = np.sum(one * two, axis=-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(two, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def lengths(joints, bones=H36M17.bones):
    return np.stack([np.linalg.norm(joints[:, b] - joints[:, a], axis=-1) for a, b in bones], axis=1)


def test_every_family_is_drawn_and_everyday_poses_most_often():
    assert set(POSES) == set(FAMILIES)
    total = sum(FAMILIES.values())
    everyday = ("standing", "walking", "sitting", "bending", "crouching", "reaching", "carrying", "sitting_floor")
    assert 0.6 < sum(FAMILIES[name] for name in everyday) / total < 0.75
    joints, family = draw_pose(np.random.default_rng(0), BODY, 4000)
    assert joints.shape == (4000, 17, 3)
    assert family.shape == (4000,)
    found = np.bincount(family, minlength=len(FAMILIES)) / 4000
    np.testing.assert_allclose(found, np.array(list(FAMILIES.values())) / total, atol=0.025)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_any_count(count):
    joints, family = draw_pose(np.random.default_rng(count), BODY, count)
    assert joints.shape == (count, 17, 3)
    assert family.shape == (count,)
    assert np.isfinite(joints).all()
    np.testing.assert_allclose(joints[:, 0, :2], 0, atol=1e-9)


def test_a_seed_gives_the_same_poses_and_another_seed_others():
    first, again, other = (draw_pose(np.random.default_rng(seed), BODY, 70) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert np.abs(first[0] - other[0]).max() > 100


def test_unknown_family():
    with pytest.raises(DiffPoseError, match="flying"):
        draw_pose(np.random.default_rng(0), BODY, 1, family="flying")


@pytest.mark.parametrize("family", FAMILIES)
def test_bones_are_the_bodys(poses, family):
    names = ["hip", "thigh", "shank", "hip", "thigh", "shank", "lumbar", "thoracic", "neck", "head"]
    names += ["clavicle", "upper_arm", "forearm"] * 2
    wanted = [BODY.segments[name] for name in names]
    np.testing.assert_allclose(lengths(poses[family]), np.tile(wanted, (COUNT, 1)), rtol=1e-9)


def test_each_pose_may_have_its_own_body():
    """Blends too keep the body of their row."""
    rng = np.random.default_rng(0)
    factor = rng.uniform(0.8, 1.15, 200)
    segments = {name: length * factor * rng.uniform(0.9, 1.1, 200) for name, length in BODY.segments.items()}
    bodies = Body(name="many", stature=BODY.stature * factor, segments=segments, girth=rng.uniform(0.9, 1.1, 200))
    joints, _ = draw_pose(rng, bodies, 200)
    found = lengths(joints, ((1, 2), (4, 5), (5, 6), (0, 7), (11, 12), (15, 16)))
    wanted = np.stack([segments[k] for k in ("thigh", "thigh", "shank", "lumbar", "upper_arm", "forearm")], axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_joints_bend_as_humans_do(poses, family):
    """Elbows and knees within their ranges, knees never forwards, thighs within the hip's range."""
    joints = poses[family]
    for arm in ARM:
        assert bend(joints, *arm).max() <= ARM_LIMITS[3][1] + 1e-6
    for leg, sign in zip(LEG, (1.0, -1.0), strict=True):
        assert bend(joints, *leg).max() <= LEG_LIMITS[3][1] + 1e-6
        across = sign * (joints[:, leg[0]] - joints[:, 0])
        up = joints[:, 7] - joints[:, 0]  # the lumbar spine leans within its limits against the pelvis
        frame = np.stack([np.cross(across, up), across, np.cross(np.cross(across, up), across)], axis=-1)
        frame /= np.linalg.norm(frame, axis=1, keepdims=True)
        bones = np.diff(joints[:, leg], axis=1)
        bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
        thigh, shank = (np.einsum("fji,fj->fi", frame, bones[:, k]) * (1, sign, 1) for k in (0, 1))
        found = leg_angles(thigh, shank)
        lumbar = TORSO_LIMITS["lumbar"][0]
        assert found[:, 0].min() > LEG_LIMITS[0][0] + lumbar[0] - 1
        assert found[:, 0].max() < LEG_LIMITS[0][1] + lumbar[1] + 1
        slack = 1e-6
        for column in (1, 2, 3):
            assert found[:, column].min() >= LEG_LIMITS[column][0] - slack
            assert found[:, column].max() <= LEG_LIMITS[column][1] + slack
    assert bend(joints, 0, 7, 8).max() < 50
    assert bend(joints, 8, 9, 10).max() < 115


def test_angles_stay_within_limits():
    for family in ("standing", "lying", "throwing"):
        poser = pose_family(np.random.default_rng(0), BODY, 60, family)
        for name, angles in poser.spine.items():
            low, high = np.array(TORSO_LIMITS[name]).T
            assert np.all((angles >= low - 1e-9) & (angles <= high + 1e-9))
        for angles, limits in ((poser.arm, ARM_LIMITS), (poser.leg, LEG_LIMITS)):
            low, high = np.array(limits, dtype=float).T
            assert np.all((angles >= low - 1e-9) & (angles <= high + 1e-9))


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_below_the_floor_and_the_lowest_part_lies_on_it(poses, family):
    lowest = (poses[family][..., 2] - FLOOR).min(axis=1)
    assert lowest.min() > -1e-6
    if family not in ("jumping", "running"):
        assert lowest.max() < 20  # flat feet hold the ankles a little higher than lying ones


def test_jumps_fly_and_some_runners_do(poses):
    height = {name: (poses[name][..., 2] - FLOOR).min(axis=1) for name in ("jumping", "running")}
    assert np.median(height["jumping"]) > 100
    assert 0.2 < np.mean(height["running"] > 30) < 0.6


@pytest.mark.parametrize("family", ON_FEET)
def test_the_centre_of_mass_is_over_the_feet(poses, family):
    joints = poses[family]
    feet = joints[:, [3, 6]]
    standing = feet[..., 2] < FLOOR[3] + (240 if family == "lunging" else 140)  # heels may be up
    low = np.where(standing[..., None], feet[..., :2], np.inf).min(axis=1)
    high = np.where(standing[..., None], feet[..., :2], -np.inf).max(axis=1)
    centre = centre_of_mass(joints)[:, :2]
    outside = np.linalg.norm(np.maximum(np.maximum(low - centre, centre - high), 0), axis=-1)
    assert np.quantile(outside, 0.9) < (260 if family == "walking" else 130)


def test_masses_are_shares_and_left_equals_right():
    assert MASS.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(MASS, MASS[MIRRORED])
    np.testing.assert_array_equal(CLEARANCE, CLEARANCE[MIRRORED])


def touching(joints, indices, slack=25.0):
    """(N, K) which of the joints lie on the floor."""
    return joints[:, indices, 2] - FLOOR[list(indices)] < slack


def test_knees_seat_hands_and_backs_are_on_the_floor(poses):
    assert touching(poses["kneeling"], (2, 5)).any(axis=1).mean() > 0.98
    assert touching(poses["sitting_floor"], (0, 1, 4), 60).any(axis=1).mean() > 0.85
    assert touching(poses["lying"], (0, 1, 4, 7, 8, 11, 14), 40).any(axis=1).mean() > 0.95
    on_hands = touching(poses["crawling"], (12, 13, 15, 16))
    assert on_hands.any(axis=1).mean() > 0.94
    assert touching(poses["crawling"], (2, 3, 5, 6), 130).any(axis=1).mean() > 0.95  # heels up
    assert touching(poses["inverted"], (10, 13, 16, 9, 11, 14)).any(axis=1).mean() > 0.9
    assert 0.1 < touching(poses["sitting_floor"], (13, 16)).any(axis=1).mean() < 0.8
    assert 0.1 < touching(poses["bending"], (13, 16), 80).any(axis=1).mean() < 0.8


def test_families_are_what_their_names_say(poses):
    upright = {name: (poses[name][:, 8, 2] - poses[name][:, 0, 2]) for name in FAMILIES}
    hips = {name: poses[name][:, 0, 2] for name in FAMILIES}
    leg = BODY.leg
    assert np.median(hips["standing"]) > 0.95 * leg
    assert np.all(upright["standing"] > 250)
    assert np.abs(upright["lying"]).max() < 330
    assert hips["sitting"].min() > 0.25 * leg
    assert hips["sitting"].max() < 1.05 * leg
    assert hips["crouching"].max() < 0.95 * leg
    assert upright["inverted"].max() < 100
    ankles = poses["balancing"][:, [3, 6], 2]
    assert np.median(ankles.max(axis=1) - ankles.min(axis=1)) > 150
    apart = np.linalg.norm(poses["lunging"][:, 3, :2] - poses["lunging"][:, 6, :2], axis=-1)
    assert apart.min() > 0.45 * leg
    far = [np.linalg.norm(poses["reaching"][:, a[2]] - poses["reaching"][:, a[0]], axis=-1) for a in ARM]
    assert np.median(np.maximum(*far)) > 0.8 * BODY.arm


def test_walkers_swing_the_arm_against_the_leg(poses):
    joints = poses["walking"]
    for arm, leg in zip(ARM, LEG, strict=True):
        hand = joints[:, arm[2], 0] - joints[:, arm[0], 0]
        assert np.corrcoef(hand, joints[:, leg[2], 0] - joints[:, leg[0], 0])[0, 1] < -0.15


def test_hands_touch_and_hold_the_body():
    joints, _ = draw_pose(np.random.default_rng(2), BODY, 800, family="standing")
    together = np.linalg.norm(joints[:, 13] - joints[:, 16], axis=-1) < 160
    wrists = joints[:, [13, 16]]
    at_head = (np.linalg.norm(wrists - (joints[:, 9] + joints[:, 10])[:, None] / 2, axis=-1) < 210).any(axis=1)
    at_hips = (np.linalg.norm(wrists - joints[:, [4, 1]], axis=-1) < 170).any(axis=1)
    for share in (together, at_head, at_hips):
        assert 0.03 < share.mean() < 0.6


@pytest.mark.parametrize("family", ["standing", "balancing", "throwing"])
def test_left_and_right_are_alike(family):
    """Means and spreads of poses and of their mirror images agree within sampling error.

    The families themselves raise the left leg in balancing and throw with the right arm.
    """
    joints, _ = draw_pose(np.random.default_rng(0), BODY, 2000, family=family)
    mirrored = joints[:, MIRRORED] * (1.0, -1.0, 1.0)
    error = joints.std(axis=0) / np.sqrt(len(joints)) + 0.5
    assert (np.abs(joints.mean(axis=0) - mirrored.mean(axis=0)) / error).max() < 6
    np.testing.assert_allclose(joints.std(axis=0), mirrored.std(axis=0), rtol=0.1, atol=6)


def test_limbs_do_not_run_through_the_body(poses):
    """Most poses of all families keep arms and knees out of the trunk, hands out of the head and legs apart."""
    clean = []
    for name in FAMILIES:
        poser = pose_family(np.random.default_rng(5), BODY, 60, name)
        clean.append(np.mean(unlikeliness(poser, poser.joints()) < 25))
    assert min(clean) > 0.7
    assert np.mean(clean) > 0.93


def test_unlikeliness_sees_a_hand_in_the_belly_and_one_leg_in_the_other():
    poser = Poser(np.random.default_rng(0), BODY, 3)
    poser.trunk(noise=0.0)
    poser.set_arms(np.tile([60.0, 0.0, 0.0, 10.0], (3, 2, 1)))
    belly = (poser.points["spine"] + poser.pelvis)[:, None] * np.ones((2, 1))
    poser.reach(belly, mask=np.array([[True, False], [False, False], [False, False]]))
    poser.set_legs(np.tile([0.0, -14.0, 0.0, 2.0], (3, 2, 1)), np.array([[False] * 2, [True] * 2, [False] * 2]))
    cost = unlikeliness(poser, poser.joints())
    assert cost[0] > 50
    assert cost[1] > 10
    assert cost[2] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_every_pose_is_new(poses, family):
    """Median distance, mean over joints, to the nearest pose of the family: far from a copy, even among 160."""
    centred = (poses[family] - poses[family][:, :1]).reshape(COUNT, -1)
    squared = np.sum(centred**2, axis=1)
    distance = squared[:, None] + squared - 2 * centred @ centred.T + np.diag(np.full(COUNT, np.inf))
    assert np.median(np.sqrt(distance.min(axis=1) / 17)) > 60


def test_a_share_of_the_poses_is_blended():
    """Blends change poses but keep bones, floor and balance; the pure poses are drawn by the same seed."""
    from data.synthetic.families import blending

    joints, family = draw_pose(np.random.default_rng(9), BODY, 600)
    kept = blending.WORST
    try:
        blending.WORST = -1.0
        pure, same = draw_pose(np.random.default_rng(9), BODY, 600)
    finally:
        blending.WORST = kept
    np.testing.assert_array_equal(family, same)
    changed = np.abs(joints - pure).max(axis=(1, 2)) > 1
    assert 0.4 * BLENDED < changed.mean() < 2 * BLENDED
    np.testing.assert_allclose(lengths(joints), np.tile(lengths(pure)[:1], (600, 1)), rtol=1e-9)
    assert (joints[..., 2] - FLOOR).min() > -1e-6


def test_rotations_are_blended_the_shortest_way():
    first, second = rotation("z", np.array([170.0])), rotation("z", np.array([-150.0]))
    np.testing.assert_allclose(between_rotations(first, second, np.array([0.5])), rotation("z", [190.0]), atol=1e-9)


def test_imbalance_is_the_distance_from_the_support():
    poser = Poser(np.random.default_rng(0), BODY, 2)
    poser.trunk(pitch=np.array([0.0, 78.0]), noise=0.0)
    poser.step(np.array([[[0.0, 90.0, -860.0], [0.0, -90.0, -860.0]]] * 2), (1.0, 0.0, 0.0))
    poser.settle()
    found = imbalance(poser, poser.joints())
    assert found[0] == 0
    assert found[1] > 30


def test_a_poser_agrees_with_a_motion():
    """The same angles give the same joints as the kinematics of the benchmark's actions."""
    rng = np.random.default_rng(0)
    poser, motion = Poser(rng, BODY, 30), Motion(BODY, 30)
    poser.trunk(pitch=rng.uniform(-50, 70, 30), roll=rng.uniform(-30, 30, 30), yaw=rng.uniform(-180, 180, 30))
    motion.torso["pelvis"] = np.zeros((30, 3))
    poser.root = np.tile(np.eye(3), (30, 1, 1))
    poser.update()
    poser.set_arms(rng.uniform(*np.array(ARM_LIMITS).T, (30, 2, 4)))
    poser.set_legs(rng.uniform(*np.array(LEG_LIMITS).T, (30, 2, 4)))
    motion.torso.update(poser.spine)
    for index, side in enumerate(("left", "right")):
        motion.arm[side], motion.leg[side] = poser.arm[:, index], poser.leg[:, index]
    np.testing.assert_allclose(poser.joints(), motion.joints(), atol=1e-9)


def test_hands_and_feet_go_where_they_are_told():
    poser = Poser(np.random.default_rng(0), BODY, 4)
    poser.trunk(pitch=10.0)
    hands = poser.shoulders() + np.array([[250.0, 40.0, -150.0], [250.0, -40.0, -150.0]])
    feet = poser.hips() + np.array([[60.0, 20.0, -760.0], [-90.0, -20.0, -700.0]])
    poser.reach(hands)
    poser.step(feet, (1.0, 0.0, 0.0))
    joints = poser.joints()
    np.testing.assert_allclose(joints[:, [13, 16]], hands, atol=1e-6)
    np.testing.assert_allclose(joints[:, [6, 3]], feet, atol=1e-6)
