"""Parts of the wide world: cameras right on average, bones, the demo's detector, and the measure of variety."""

import h5py
import numpy as np
import pytest

from data.schema import ACTIONS
from data.synthetic import embedded_detector
from data.synthetic.actions import perform_at
from data.synthetic.bodies import random_body, subject_body
from data.synthetic.bones import MIRRORED, mirrored, turned, vary_bones
from data.synthetic.build import BuildParameters, build
from data.synthetic.cameras import CAMERAS, RowCameras
from data.synthetic.contact_sheet import save_wide_sheet
from data.synthetic.families import draw_pose
from data.synthetic.occlusion import VISIBLE, Visibility
from data.synthetic.variety import describe_nearest, describe_variety, nearest_elsewhere, nearest_to, without_heading
from data.synthetic.wide_cameras import (
    DISTANCE_LIMITS,
    PITCH_LIMITS,
    ROLL_LIMIT,
    camera_pitch,
    camera_roll,
    draw_cameras,
    draw_panels,
)
from demo import mpii_maps
from utils.errors import DiffPoseError
from utils.skeleton import H36M17, MPII_JOINTS


@pytest.fixture(scope="module")
def joints():
    rng = np.random.default_rng(2)
    return draw_pose(rng, random_body(rng, 3000), 3000)[0]


@pytest.fixture(scope="module")
def cameras(joints):
    return draw_cameras(joints, np.random.default_rng(0))


def test_cameras_are_right_on_average_and_have_long_tails(cameras):
    pitch, roll = camera_pitch(cameras.rotation), camera_roll(cameras.rotation)
    assert 6.0 < pitch.mean() < 8.6
    assert 9.0 < pitch.std() < 14.0
    assert PITCH_LIMITS[0] - 1e-6 < pitch.min() < -12
    assert 45 < pitch.max() < PITCH_LIMITS[1] + 1e-6
    assert abs(roll.mean()) < 0.5
    assert 2.5 < roll.std() < 5.5
    assert 15 < np.abs(roll).max() < ROLL_LIMIT + 1e-6
    assert 0.005 < np.mean(np.abs(roll) > 10) < 0.08


def test_cameras_stand_on_the_ground_before_the_person(joints, cameras):
    assert cameras.position[:, 2].min() > 50
    distance = np.linalg.norm(joints.mean(axis=1) - cameras.position, axis=-1)
    assert np.quantile(distance, 0.01) > 0.7 * DISTANCE_LIMITS[0]
    assert distance.max() < 1.2 * DISTANCE_LIMITS[1]
    assert np.quantile(distance, 0.9) / np.quantile(distance, 0.1) > 2.5
    seen = cameras.to_camera(joints)
    assert seen[..., 2].min() > 200
    pixels = cameras.project(seen)
    outside = ((pixels < 0) | (pixels >= cameras.size[:, None])).any(axis=-1)
    assert 0.01 < outside.mean() < 0.08
    assert np.mean(outside.mean(axis=1) > 0.5) < 0.03
    identity = cameras.rotation @ np.swapaxes(cameras.rotation, 1, 2)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-12)
    assert np.linalg.det(cameras.rotation).min() > 0.99


def test_pitch_and_roll_of_the_studio():
    rows = RowCameras.chosen(CAMERAS, np.arange(4))
    np.testing.assert_allclose(camera_roll(rows.rotation), (0.4, -0.3, 0.5, -0.6), atol=1e-6)
    assert np.all((camera_pitch(rows.rotation) > 6) & (camera_pitch(rows.rotation) < 9))


def test_some_have_an_object_before_them(joints, cameras):
    panels = draw_panels(joints, cameras, np.random.default_rng(0))
    assert 0.08 < np.mean(panels.half_width > 0) < 0.16
    assert np.all(panels.high > panels.low)


def test_row_cameras_are_the_cameras_they_were_chosen_from(joints):
    choice = np.array([2, 0, 3])
    rows = RowCameras.chosen(CAMERAS, choice)
    for number, camera in enumerate(choice):
        own = CAMERAS[camera]
        seen = own.to_camera(joints[number])
        np.testing.assert_allclose(rows.to_camera(joints[:3])[number], seen)
        np.testing.assert_allclose(rows.project(rows.to_camera(joints[:3]))[number], own.project(seen))


def test_bones_vary_and_stay_symmetric(joints):
    varied = vary_bones(joints, 0.03, np.random.default_rng(0))
    for (a, b), (c, d) in H36M17.symmetric_bones:
        ratios = [
            np.linalg.norm(varied[:, j] - varied[:, i], axis=-1) / np.linalg.norm(joints[:, j] - joints[:, i], axis=-1)
            for i, j in ((a, b), (c, d))
        ]
        np.testing.assert_allclose(ratios[0], ratios[1])
        assert 0.02 < ratios[0].std() < 0.04
    np.testing.assert_allclose(varied[..., 2].min(axis=1), joints[..., 2].min(axis=1))
    np.testing.assert_allclose(vary_bones(joints, 0.0, np.random.default_rng(0)), joints)


def test_mirrored_and_turned(joints):
    which = np.arange(len(joints)) % 2 == 0
    there = mirrored(joints, which)
    np.testing.assert_array_equal(there[1], joints[1])
    np.testing.assert_array_equal(there[0][:, 1], -joints[0][list(MIRRORED), 1])
    np.testing.assert_allclose(mirrored(there, which), joints)
    quarter = turned(joints[:4], np.full(4, np.pi / 2))
    centred = joints[:4] - joints[:4, :1] * (1, 1, 0)
    np.testing.assert_allclose(quarter[..., 1], centred[..., 0], atol=1e-9)
    np.testing.assert_allclose(
        without_heading(turned(joints, np.full(len(joints), 1.2))), without_heading(joints), atol=1
    )


def test_the_embedded_detectors_rules_are_the_demos():
    for name in ("PEAK_STD", "NETWORK_STD", "HIDDEN_STD"):
        assert getattr(embedded_detector, name) == getattr(mpii_maps, name)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 256, (33, 2))
    ours = np.stack([points[mpii_maps.DIRECT.get(name, mpii_maps.NOSE)] for name in MPII_JOINTS])
    ours[MPII_JOINTS.index("Head")] = (points[mpii_maps.LEFT_EAR] + points[mpii_maps.RIGHT_EAR]) / 2
    np.testing.assert_allclose(embedded_detector.made_joints(ours[None])[0], mpii_maps.made_points(points))


def test_lying_people_are_found_worse_than_upright_ones():
    body = subject_body("S1")
    upright = perform_at("Waiting", 0, body, 1.4 * np.arange(300), np.random.default_rng(0))
    lying = upright[..., [2, 1, 0]] * (1, 1, 0.2)
    difficulty = [embedded_detector.posture_difficulty(pose) for pose in (upright, lying)]
    assert difficulty[0].mean() < 1.1 < 1.35 < difficulty[1].mean()
    cells = np.random.default_rng(1).uniform(10, 50, (300, 17, 2))
    seen = Visibility(
        reason=np.full((300, 17), VISIBLE, np.uint8), depth=np.zeros((300, 17)), place_mm=np.zeros((300, 17, 3))
    )
    errors = []
    for level in difficulty:
        found = embedded_detector.find_points(cells, cells[:, 10], seen, level, np.random.default_rng(5))
        true = cells[:, list(embedded_detector.MPII_TO_H36M)]
        errors.append(np.median(np.linalg.norm(found.points - true, axis=-1)))
    assert errors[1] > 1.2 * errors[0]


def test_nearest_elsewhere_is_what_a_plain_search_finds():
    rng = np.random.default_rng(0)
    poses = rng.normal(0, 100, (120, 51)).astype(np.float32)
    episodes = np.arange(120) // 4
    found = nearest_elsewhere(poses, episodes, np.arange(0, 120, 7))
    joints = poses.reshape(120, 17, 3)
    for row, value in zip(range(0, 120, 7), found, strict=True):
        others = episodes != episodes[row]
        plain = np.linalg.norm(joints[others] - joints[row], axis=-1).mean(axis=-1).min()
        assert value == pytest.approx(plain, rel=0.03)
        assert value >= plain - 1e-3


def test_variety_of_a_benchmark(tmp_path):
    path = tmp_path / "benchmark.h5"
    build(path, BuildParameters(601, 4, 0), workers=1, show_progress=False)
    text = describe_variety(path, rows=601, queries=200)
    assert "rows of 150 episodes" in text
    assert "cameras' pitch: 7.7 +- 0.4 degrees down (7 to 8)" in text
    assert "Walking" in text
    near = nearest_to(path, path, rows=601, queries=601)
    assert near["all"] < 1e-3 < 20 < nearest_to(path, path, rows=40, queries=601)["all"]
    assert set(near) == {"all", *ACTIONS}
    assert "13 joints" in describe_nearest(path, path, rows=100, queries=50)
    assert "of 75 episodes" in describe_variety(path, rows=601, queries=200, episodes=75)
    build(path, BuildParameters(30, 4, 0), workers=1, show_progress=False)
    with pytest.raises(DiffPoseError, match="too few episodes"):
        describe_variety(path)
    with h5py.File(path, "r+") as file:
        del file["dataset/cameras"]
    with pytest.raises(DiffPoseError, match="no cameras"):
        describe_variety(path)


def test_contact_sheet_of_the_wide_world(tmp_path):
    path = save_wide_sheet(tmp_path / "sheet.png", count=22)
    assert path.read_bytes().startswith(b"\x89PNG")
