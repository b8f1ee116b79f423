"""Occlusion and the way from any 3D motion to rows."""

import numpy as np
import pytest

from data.schema import FIELDS
from data.synthetic.actions import perform
from data.synthetic.bodies import subject_body
from data.synthetic.cameras import CAMERAS, look_at
from data.synthetic.contact_sheet import save_contact_sheet
from data.synthetic.kinematics import Motion
from data.synthetic.occlusion import (
    BEHIND_BODY,
    BEHIND_OBJECT,
    OUTSIDE,
    VISIBLE,
    Panel,
    add_extremities,
    recorded_joints,
    see,
)
from data.synthetic.views import OCCLUDED_FIELD, Scene, crop_box, simulate_view

BODY = subject_body("S6")
CAMERA = CAMERAS[0]
LEFT_WRIST, RIGHT_WRIST = 13, 16


@pytest.fixture
def standing():
    """Somebody upright in the middle of the room who faces the first camera, arms a little away from the body."""
    motion = Motion(BODY, 1)
    towards = CAMERA.position[:2]
    motion.torso["pelvis"][:, 2] = np.degrees(np.arctan2(towards[1], towards[0]))
    for side in ("left", "right"):
        motion.arm[side][:] = (25, 0, 0, 10)
        motion.leg[side][:] = (0, 8, 0, 5)
    motion.settle()
    return motion


def reasons(motion, panel=None, camera=CAMERA):
    return see(add_extremities(motion.joints()), camera, BODY, panel).reason[0]


def test_who_stands_free_is_seen(standing):
    assert (reasons(standing) == VISIBLE).all()


def test_hands_before_the_body_are_seen_and_behind_it_are_not(standing):
    trunk = standing.trunk_points()
    ahead = standing.frame_of("chest")[:, :, 0]
    middle = (trunk["hip"] + trunk["thorax"]) / 2
    standing.reach("left", middle + 300 * ahead)
    standing.reach("right", middle - 200 * ahead)
    found = reasons(standing)
    assert found[LEFT_WRIST] == VISIBLE
    assert found[RIGHT_WRIST] == BEHIND_BODY
    opposite = reasons(standing, camera=CAMERAS[3])  # stands opposite
    assert opposite[LEFT_WRIST] == BEHIND_BODY
    assert opposite[RIGHT_WRIST] == VISIBLE


def test_in_profile_the_far_leg_is_hidden(standing):
    standing.torso["pelvis"][:, 2] += 90.0  # the left side turns away from the camera
    for side in ("left", "right"):
        standing.leg[side][:] = (0, 0, 0, 3)
        standing.arm[side][:] = (90, 90, 0, 5)
    found = reasons(standing)
    assert found[[4, 5]].tolist() == [BEHIND_BODY] * 2
    assert found[[1, 2, 3]].tolist() == [VISIBLE] * 3


def test_a_panel_hides_what_it_covers(standing):
    half_way = CAMERA.position[:2] / 2
    found = reasons(standing, Panel(centre=half_way, half_width=900.0, low=0.0, high=1150.0))
    assert set(found[[2, 3, 5, 6]]) == {BEHIND_OBJECT}
    assert set(found[[8, 9, 10, 11, 14]]) == {VISIBLE}
    behind = reasons(standing, Panel(centre=-half_way, half_width=900.0, low=0.0, high=2000.0))
    assert (behind == VISIBLE).all()


def test_outside_the_picture_is_outside(standing):
    across = np.cross(CAMERA.rotation[2], [0, 0, 1.0])
    standing.pelvis_mm += 2050.0 * across
    found = reasons(standing)
    pixels = CAMERA.project(CAMERA.to_camera(standing.joints()[0]))
    outside = ((pixels < 0) | (pixels >= CAMERA.size)).any(axis=1)
    assert outside.any()
    np.testing.assert_array_equal(found == OUTSIDE, outside)


def test_cameras_look_at_the_room_upright():
    for camera in CAMERAS:
        np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.rotation) == pytest.approx(1.0)
        middle = camera.to_camera(np.array([0.0, 0.0, 900.0]))
        assert 3500 < middle[2] < 6000
        assert np.abs(camera.project(middle) - camera.centre).max() < 1e-6
        head = camera.project(camera.to_camera(np.array([0.0, 0.0, 1700.0])))
        assert head[1] < camera.centre[1] - 150
    # From the south, east is on the right.
    rotation = look_at(np.array([0.0, -5000.0, 1000.0]), np.array([0.0, 0.0, 1000.0]))
    np.testing.assert_allclose(rotation @ [1.0, 0, 0], [1, 0, 0], atol=1e-12)


def test_crop_box_examples():
    """Half to even, whole pixels."""
    points = np.array([[[100.0, 200.0], [201.0, 501.0]], [[0.0, 0.0], [10.0, 5.0]]])
    corner, side = crop_box(points)
    np.testing.assert_array_equal(side, [361, 12])
    np.testing.assert_array_equal(corner, [[-30, 170], [-1, -4]])


def test_the_32_recorded_joints_hold_ours_and_extremities():
    points = add_extremities(perform("Walking", 0, BODY, 20, np.random.default_rng(0)))
    recorded = recorded_joints(points)
    ours = recorded[:, [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]]
    np.testing.assert_array_equal(ours, points[:, :17])
    toes = points[:, 19:] - points[:, (3, 6)]
    forward = np.cross(points[:, 4] - points[:, 1], points[:, 8] - points[:, 0])
    assert (np.einsum("fjd,fd->fj", toes, forward) > 0).all()


def test_any_motion_gives_rows_and_repeats():
    joints = perform("SittingDown", 1, BODY, 40, np.random.default_rng(1))[::10]
    one, two = (simulate_view(joints, CAMERA, BODY, np.random.default_rng(7)) for _ in range(2))
    wanted = {**FIELDS["h36m"], OCCLUDED_FIELD.name: OCCLUDED_FIELD}
    for name, values in one.items():
        assert values.dtype == wanted[name].dtype, name
        assert values.shape == (4, *wanted[name].shape), name
        np.testing.assert_array_equal(values, two[name])
    assert set(wanted) - set(one) == {"action", "subject", "subaction", "cam", "frame_orig"}


def test_a_scene_holds_for_the_whole_recording():
    joints = perform("Posing", 0, BODY, 4, np.random.default_rng(1))
    high_wall = Panel(centre=CAMERA.position[:2] / 2, half_width=3000.0, low=0.0, high=3000.0)
    columns = simulate_view(
        joints, CAMERA, BODY, np.random.default_rng(0), scene=Scene(panel=high_wall, habits=np.zeros(5))
    )
    assert (columns["occluded"] == BEHIND_OBJECT).all()


def test_contact_sheet(tmp_path):
    path = save_contact_sheet(tmp_path / "new" / "actions.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 20_000
