"""Bodies of the wide world: all sizes and proportions, and joints where different recordings put them."""

import numpy as np
import pytest

from data.synthetic.actions import perform
from data.synthetic.bodies import GIRTH_LIMITS, SEGMENT_SHARE, STATURE_LIMITS, random_body, subject_body
from data.synthetic.joint_definitions import STANDARD, JointDefinition, draw_definition

COUNT = 1500


@pytest.fixture(scope="module")
def bodies():
    rng = np.random.default_rng(3)
    return [random_body(rng) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def joints():
    return perform("Discussion", 0, subject_body("S9"), 40, np.random.default_rng(1))


def length(joints, first, second):
    return np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)


def test_bodies_stay_within_their_limits_and_vary_bone_by_bone(bodies):
    statures = np.array([body.stature for body in bodies])
    assert statures.min() >= STATURE_LIMITS[0]
    assert statures.max() <= STATURE_LIMITS[1]
    assert np.ptp(statures) > 500
    girths = np.array([body.girth for body in bodies])
    assert GIRTH_LIMITS[0] <= girths.min() < 0.85
    assert 1.25 < girths.max() <= GIRTH_LIMITS[1]
    share = {name: np.array([body.segments[name] for body in bodies]) / statures for name in SEGMENT_SHARE}
    for name, values in share.items():
        assert 0.04 < values.std() / values.mean() < 0.11, name
        assert abs(values.mean() / SEGMENT_SHARE[name] - 1) < 0.07, name
    together = np.corrcoef(np.stack(list(share.values())))
    names = list(share)
    assert together[names.index("upper_arm"), names.index("forearm")] > 0.25
    assert together[names.index("thigh"), names.index("lumbar")] < 0.0


def test_recorded_proportions_lie_inside_the_range(bodies, joints):
    """What recordings of people of about 1.8 m had, mm: trunk 570, upper arm 330, forearm 252, neck and head 320."""
    measured = {"trunk": [], "upper arm": [], "forearm": [], "neck and head": []}
    rng = np.random.default_rng(0)
    for body in bodies:
        if 1740 < body.stature < 1860:
            pose = body.redefine(perform("Waiting", 0, body, 1, rng)) if len(measured["trunk"]) < 120 else None
            if pose is None:
                break
            measured["trunk"].append(length(pose, 0, 7) + length(pose, 7, 8))
            measured["upper arm"].append(length(pose, 11, 12))
            measured["forearm"].append(length(pose, 12, 13))
            measured["neck and head"].append(length(pose, 8, 9) + length(pose, 9, 10))
    for name, recorded in (("trunk", 570), ("upper arm", 330), ("forearm", 252), ("neck and head", 320)):
        values = np.concatenate(measured[name])
        assert np.quantile(values, 0.01) < recorded < values.max(), name


def test_the_standard_definition_changes_nothing(joints):
    np.testing.assert_allclose(STANDARD.redefine(joints), joints, atol=1e-9)


def test_a_definition_moves_what_it_names(joints):
    moved = JointDefinition(spine=0.4, thorax=0.1, hip_width=0.8, shoulder_width=0.9, head=0.6).redefine(joints)
    trunk = length(joints, 0, 7) + length(joints, 7, 8)
    np.testing.assert_allclose(length(moved, 0, 7), 0.4 * trunk)
    np.testing.assert_allclose(length(moved, 8, 7), 0.1 * trunk + 0.6 * trunk, rtol=0.03)
    np.testing.assert_allclose(length(moved, 1, 4), 0.8 * length(joints, 1, 4))
    np.testing.assert_allclose(length(moved, 11, 14), 0.9 * length(joints, 11, 14))
    np.testing.assert_allclose(length(moved, 9, 10), 0.6 * length(joints, 9, 10))
    np.testing.assert_array_equal(moved[:, [2, 3, 5, 6, 12, 13, 15, 16]], joints[:, [2, 3, 5, 6, 12, 13, 15, 16]])


def test_the_root_stays_in_the_middle_of_the_hips_and_poses_can_differ(joints):
    definition = draw_definition(np.random.default_rng(0), len(joints))
    moved = definition.redefine(joints)
    np.testing.assert_allclose(moved[:, 0], moved[:, [1, 4]].mean(axis=1))
    assert np.std(length(moved, 8, 10) / length(joints, 8, 10)) > 0.03
    one = draw_definition(np.random.default_rng(0))
    assert np.isfinite(one.redefine(joints)).all()
