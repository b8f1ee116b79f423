"""Every layout against the order that its own documentation gives, and with a stick figure."""

import numpy as np
import pytest

from data.keypoints.joints import RULES, checked_keypoints, crop_points, is_enough, joints_of
from data.keypoints.layouts import LAYOUTS, layout_named, layout_of_size
from tests.support.stick_figure import JOINTS, keypoints_of
from utils.errors import DiffPoseError
from utils.skeleton import MPII_JOINTS

# px that a rule may be off on this figure, whose trunk is 100 long.
NEAR = {"Hip": 4, "Spine": 7, "Thorax": 7, "Head": 10}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_joint_of_the_figure(name):
    layout = LAYOUTS[name]
    points = keypoints_of(name)
    assert points.shape[1] == len(layout)
    assert layout_of_size(len(layout), "x").name == {"h36m17": "coco17"}.get(name, name)
    joints = joints_of(layout, points, np.ones(points.shape[:2]))
    for m, joint in enumerate(MPII_JOINTS):
        away = np.linalg.norm(joints.points[0, m] - JOINTS[joint])
        assert away <= NEAR.get(joint, 0) + 1e-9, joint
        if joint in NEAR:
            assert away <= 100 * joints.error[0, m] + 1e-6, f"{joint}: the rule's own error does not say so"
    np.testing.assert_allclose(joints.up[0], [0, -100])
    assert (joints.confidence == 1).all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_crop_holds_toes_and_fingertips_and_leaves_heels_out(name):
    layout, points = LAYOUTS[name], keypoints_of(name)
    sure = np.ones(points.shape[:2])
    around = crop_points(layout, points, sure, joints_of(layout, points, sure))
    assert around[..., 1].max() == pytest.approx(438 if layout.has_toes else 429, abs=1)
    assert around[..., 0].max() == pytest.approx({"blazepose33": 276, "wholebody133": 274}.get(name, 279.2), abs=0.01)
    for number, word in enumerate(layout.joints):
        points[0, number] += 1000 * word.endswith("heel")
    again = crop_points(layout, points, sure, joints_of(layout, points, sure))
    np.testing.assert_array_equal(again, around)


def test_what_is_not_seen():
    layout, points = LAYOUTS["body25"], keypoints_of("body25")
    sure = np.ones((1, 25))
    sure[0, [4, 17]] = 0  # right wrist, right ear
    joints = joints_of(layout, points, sure)
    wrist, head = MPII_JOINTS.index("RWrist"), MPII_JOINTS.index("Head")
    assert joints.confidence[0, wrist] == 0
    assert np.isnan(joints.points[0, wrist]).all()
    assert joints.error[0, head] == RULES["Head"][2].error  # the next rule: one ear
    assert is_enough(joints).all()
    points[0, 4] = 9000
    assert np.nanmax(crop_points(layout, points, sure, joints)) < 500
    sure[0, 4:] = 0
    assert not is_enough(joints_of(layout, points, sure)).any()


def test_confidence_of_a_sum_is_its_points():
    layout, points = LAYOUTS["coco17"], keypoints_of("coco17")
    sure = np.full((1, 17), 0.8)
    sure[0, 11] = 0.4  # left hip
    joints = joints_of(layout, points, sure)
    assert joints.confidence[0, MPII_JOINTS.index("Hip")] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("written", "name"),
    [("COCO-17", "coco17"), ("BODY_25", "body25"), ("Halpe-26", "halpe26"), ("mediapipe", "blazepose33")],
)
def test_names_in_other_spellings(written, name):
    assert layout_named(written) is LAYOUTS[name]


@pytest.mark.parametrize(
    ("xy", "confidence", "layout", "said"),
    [
        (np.ones((2, 17, 3)), None, None, r"\(2, 17, 3\): expected \(N, K, 2\)"),
        (np.ones((17, 2)), None, None, "expected"),
        ([[1, 2], [3]], None, None, "one shape"),
        (np.ones((1, 18, 2)), None, None, "18 keypoints, which no layout has: the layouts are coco17"),
        (np.ones((1, 25, 2)), None, "coco17", "25 keypoints, coco17 has 17: choose body25"),
        (np.ones((1, 25, 2)), None, "cocoa", "unknown layout 'cocoa'"),
        (100 * np.eye(17)[None, :, :2], np.ones((1, 16)), None, r"confidence \(1, 16\)"),
        (np.random.default_rng(0).uniform(0, 1, (1, 17, 2)), None, None, "px, not shares"),
        (1e9 * np.eye(17)[None, :, :2], None, None, r"keypoint 0 of row 0 is at \(1e\+09, 0\), in no picture"),
    ],
)
def test_one_line_for_what_does_not_fit(xy, confidence, layout, said):
    with pytest.raises(DiffPoseError, match=said) as error:
        checked_keypoints(xy, confidence, layout, least=0.05)
    assert "\n" not in str(error.value)


def test_what_counts_as_unseen():
    points = keypoints_of("coco17")
    points[0, 0], points[0, 1] = np.nan, 0
    layout, _, sure = checked_keypoints(points, None, None, least=0.05)
    assert layout.name == "coco17"
    assert sure[0].tolist() == [0, 0] + [1] * 15
    given = np.array([[0.01, np.nan, 3.0] + [0.5] * 14])
    assert checked_keypoints(points, given, "coco", least=0.05)[2][0].tolist() == [0, 0, 1] + [0.5] * 14
