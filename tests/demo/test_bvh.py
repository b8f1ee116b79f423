"""BVH out: fixed bones near the track, the same joints by independent readers and by mocap.py, left is left."""

import sys

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.pose_items import truth_mm
from data.preprocessing import mocap
from data.preprocessing.motion_capture.bvh import read_bvh
from data.preprocessing.motion_capture.takes import TakeOptions, load_take
from data.synthetic.actions import perform
from data.synthetic.bodies import subject_body
from demo.bvh import steady_angles, write_bvh
from demo.fixed_skeleton import SEGMENTS, fit_fixed_skeleton, fit_positions, median_lengths, shortest_turn
from tests.demo.test_inference import film, picture
from tests.support.stick_figure import keypoints_of
from utils.errors import run_script
from utils.skeleton import COMMON13, H36M17

NAME_OF = {segment.at: segment.name for segment in SEGMENTS if segment.parent and segment.name != "Spine"} | {0: "Hips"}
NAME_OF |= {8: "Neck"}  # where the shoulders' joints lie too
LEAF = 10  # the head's top is an end, without a name


def track(action="Walking", *, noise=0.0, frames=40, seed=0):
    """A simulated motion as the demo has it: (T, 17, 3), root-centred, y up, mm."""
    generator = np.random.default_rng(seed)
    world = perform(action, 0, subject_body("S9"), 2 * frames, generator)[::2].astype(np.float64)
    poses = np.stack([world[..., 0], world[..., 2], -world[..., 1]], axis=-1)
    poses += generator.normal(0, noise, poses.shape)
    return poses - poses[:, :1]


def save(path, fixed, rate=25.0):
    write_bvh(path, fixed.bone_mm, fixed.joints_mm[:, 0] + [0, 900, 0], fixed.rotations, rate=rate)
    return path


def by_bvhio(path, frames):
    """Joints (F, 17, 3), mm, as the independent reader places them; the head's top, an end site, is NaN."""
    bvhio = pytest.importorskip("bvhio")
    root = bvhio.readAsHierarchy(str(path))
    places = np.full((len(frames), 17, 3), np.nan)
    for k, frame in enumerate(frames):
        root.loadPose(int(frame))
        for number, name in NAME_OF.items():
            if number != LEAF:
                places[k, number] = 10 * np.array(root.filter(name, isEqual=True)[0].PositionWorld.to_tuple())
    return places


def by_ours(path):
    motion = read_bvh(path)
    numbers = [
        motion.index(NAME_OF[j]) if j != LEAF else motion.leaves_below(motion.index("Head"))[0] for j in range(17)
    ]
    return 10 * motion.positions()[:, numbers]


@pytest.mark.parametrize("action", ["Walking", "Sitting", "Greeting"])
def test_readers_find_the_fixed_track_and_it_is_near_the_poses(action, tmp_path):
    poses = track(action, noise=15)
    fixed = fit_fixed_skeleton(poses)
    lengths = np.stack(
        [np.linalg.norm(fixed.joints_mm[:, b] - fixed.joints_mm[:, a], axis=-1) for a, b in H36M17.bones]
    )
    np.testing.assert_allclose(np.ptp(lengths, axis=1), 0, atol=1e-6)
    path = save(tmp_path / "a.bvh", fixed)
    wanted = fixed.joints_mm + np.array([0, 900, 0])
    assert np.linalg.norm(by_ours(path) - wanted, axis=-1).max() < 0.1
    frames = np.arange(0, len(poses), 7)
    places = by_bvhio(path, frames)
    away = np.linalg.norm(places - wanted[frames], axis=-1)
    assert np.isnan(away).sum(axis=0).tolist() == [len(frames) * (j == LEAF) for j in range(17)]
    assert np.nanmax(away) < 1
    assert np.median(np.linalg.norm(fixed.joints_mm - poses, axis=-1)) < 20


def test_positions_are_the_best_that_these_bones_allow():
    """Against small moves of all joints along their bones' turns, and against poses that have fixed bones already."""
    clean = fit_positions(track(), median_lengths(track()))
    np.testing.assert_allclose(fit_positions(clean, median_lengths(clean)), clean, atol=0.05)
    poses = track(noise=40)
    lengths = median_lengths(poses)
    best = fit_positions(poses, lengths)
    least = ((best - poses) ** 2).sum()
    generator = np.random.default_rng(0)
    for size in (2.0, 10.0, 60.0):
        other = fit_positions(best + generator.normal(0, size, best.shape), lengths)
        assert np.abs(other - best).max() > size / 10
        assert ((other - poses) ** 2).sum() > least


def test_lengths_are_medians_of_both_sides():
    poses = track()
    poses[:, [5, 6]] += 30 * (poses[:, 5:6] - poses[:, 4:5]) / 400  # a longer left thigh
    poses[0] *= 3  # one frame is all wrong
    found = median_lengths(poses)
    assert found[5] == found[2]
    thighs = [np.linalg.norm(poses[:, a] - poses[:, b], axis=-1) for a, b in ((1, 2), (4, 5))]
    assert found[5] == pytest.approx(np.median(np.concatenate(thighs)))
    assert found[1] == found[4]
    assert found[0] == 0


@pytest.mark.parametrize("action", ["Walking", "Sitting"])
def test_mocap_gives_the_joints_back(action, tmp_path):
    fixed = fit_fixed_skeleton(track(action, noise=8))
    take = load_take(save(tmp_path / "take.bvh", fixed, rate=50.0), TakeOptions(every=1))
    assert take.unit == "cm"
    assert take.head_top == "'Head End Site'"
    world = fixed.joints_mm
    wanted = np.stack([world[..., 0], -world[..., 2], world[..., 1]], axis=-1)
    found = take.joints_mm - take.joints_mm[:, :1]
    away = np.linalg.norm(found - (wanted - wanted[:, :1]), axis=-1)
    assert away[:, list(COMMON13.numbers)].max() < 0.1
    assert away.max() < 15  # spine and neck are where Human3.6M's bodies have them, by shares


def test_the_mocap_command_makes_rows_of_it(tmp_path, monkeypatch, capsys):
    fixed = fit_fixed_skeleton(track())
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "walk.bvh", fixed, rate=50.0)
    command = ["mocap.py", "--input_dir", tmp_path / "in", "--output_dir", tmp_path, "--workers", "1"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in command])
    with pytest.raises(SystemExit) as stop:
        run_script(mocap.main)
    assert not stop.value.code, capsys.readouterr().err
    found: list[np.ndarray] = []
    with h5py.File(tmp_path / "mocap_dataset.h5") as file:
        file.visititems(lambda path, item: found.append(item[()]) if path.endswith("gt_3d") else None)
    numbers = list(COMMON13.numbers)
    joints = truth_mm(found[0], "h36m")[:10, numbers]  # frames 3, 7, 11 .. of the first camera
    wanted = fixed.joints_mm[3::4][:, numbers]
    assert len(joints) == len(wanted) == 10
    np.testing.assert_allclose(distances(joints), distances(wanted), atol=0.5)


def distances(poses):
    return np.linalg.norm(poses[:, :, None] - poses[:, None], axis=-1)


def test_left_is_left_in_a_file(tmp_path):
    """Somebody who faces the camera (z) has their left at the picture's right (x), and raises the left hand."""
    pose = track("Directions", frames=1)
    across = pose[0, 4] - pose[0, 1]
    yaw = Rotation.from_rotvec([0, np.arctan2(across[2], across[0]), 0])
    pose = yaw.apply(pose[0])[None]
    pose[0, 12], pose[0, 13] = pose[0, 11] + [50, 250, 0], pose[0, 11] + [50, 480, 0]
    path = save(tmp_path / "one.bvh", fit_fixed_skeleton(pose))
    places = by_bvhio(path, np.array([0]))[0]
    assert places[4, 0] > 50 > -50 > places[1, 0]
    assert places[13, 1] > places[9, 1] > places[16, 1]
    rest = read_bvh(path)
    offsets = {joint.name: joint.offset for joint in rest.joints}
    assert offsets["LeftArm"][0] > 5
    assert offsets["RightUpLeg"][0] < -5


def test_the_upper_spine_turns_with_the_shoulders_and_limbs_do_not_twist():
    pose = track(frames=1)[0]
    pose -= pose[7]
    upper = [8, 9, 10, 11, 12, 13, 14, 15, 16]
    axis = (pose[8] - pose[7]) / np.linalg.norm(pose[8] - pose[7])
    turned = pose.copy()
    turned[upper] = Rotation.from_rotvec(np.radians(50) * axis).apply(pose[upper])
    before, after = (
        dict(zip([s.name for s in SEGMENTS], fit_fixed_skeleton(one[None]).rotations, strict=True))
        for one in (pose, turned)
    )
    twist = (after["Spine1"] * before["Spine1"].inv()).magnitude()
    assert np.degrees(twist[0]) == pytest.approx(50, abs=1)
    for name in ("LeftShoulder", "LeftArm", "RightForeArm", "Head", "LeftLeg"):
        np.testing.assert_allclose(after[name].as_rotvec(), before[name].as_rotvec(), atol=0.02)
        assert np.abs(after[name].as_rotvec() @ next(s.rest for s in SEGMENTS if s.name == name)).max() < 1e-6


def test_shortest_turns_and_steady_angles():
    aims = np.array([[0, 1, 0], [0, 0, 2], [0, -1, 0], [0.6, 0.8, 0]])
    turns = shortest_turn(np.array([0.0, 1.0, 0.0]), aims)
    np.testing.assert_allclose(turns.apply([0, 1, 0]), aims / np.linalg.norm(aims, axis=-1, keepdims=True), atol=1e-7)
    np.testing.assert_allclose(np.degrees(turns.magnitude()), [0, 90, 180, np.degrees(np.arccos(0.8))], atol=1e-6)
    spin = Rotation.from_euler("Y", np.arange(0, 1000, 10)[:, None], degrees=True)
    nod = Rotation.from_euler(
        "X", np.arange(0, 300, 5)[:, None], degrees=True
    )  # through both places without a third angle
    for motion in (spin, nod):
        angles = steady_angles(motion)
        assert np.abs(np.diff(angles, axis=0)).max() < 11
        again = Rotation.from_euler("ZXY", angles, degrees=True)
        assert (again * motion.inv()).magnitude().max() < 1e-6


def test_the_command_fills_gaps_and_says_how_near_it_is(demo, tmp_path):
    path = film(tmp_path / "film.avi", [1, 1, 0, 0, 1, 2])
    code, out, err = demo("--input", path, "--export", "bvh", "trc")
    assert code == 0, err
    assert "person_0.bvh, person_1.bvh, person_0.trc, person_1.trc" in out
    assert "bvh: with bones of fixed length joints are " in out
    assert "gaps: 2 frames without the person; NaN in TRC, filled in BVH" in out
    motion = read_bvh(tmp_path / "out" / "person_0.bvh")
    assert motion.num_frames == 6
    assert motion.frame_time == pytest.approx(0.1)
    places = by_ours(tmp_path / "out" / "person_0.bvh")
    step = np.linalg.norm(np.diff(places[1:5], axis=0), axis=-1)
    np.testing.assert_allclose(step[:, 0], step[0, 0], atol=0.02)
    assert read_bvh(tmp_path / "out" / "person_1.bvh").num_frames == 1
    with np.load(tmp_path / "out" / "poses.npz") as file:
        own = file["consensus_mm"][file["person"] == 0]  # frames 0, 1, 4, 5
    fixed = fit_fixed_skeleton(own.astype(np.float64)).joints_mm
    seen = places[[0, 1, 4, 5]]
    np.testing.assert_allclose(seen - seen[:1, :1], fixed - fixed[:1, :1], atol=0.1)
    bones = np.stack([np.linalg.norm(places[:, b] - places[:, a], axis=-1) for a, b in H36M17.bones])
    assert np.ptp(bones, axis=1).max() < 0.1  # in the gap too


def test_the_command_on_pictures_and_keypoints(demo, tmp_path):
    code, out, _ = demo("--input", picture(tmp_path / "two.png", 2), "--export", "bvh")
    assert code == 0
    assert {path.name for path in (tmp_path / "out").glob("*.bvh")} == {"two_person_0.bvh", "two_person_1.bvh"}
    assert "frame rate" not in out
    np.save(tmp_path / "walk.npy", keypoints_of("coco17") + 15 * np.arange(5)[:, None, None])
    code, out, _ = demo("--keypoints", tmp_path / "walk.npy", "--export", "bvh", "--fps", "50", "--every", "2")
    assert code == 0
    motion = read_bvh(tmp_path / "out" / "person_0.bvh")
    assert (motion.num_frames, motion.frame_time) == (3, 0.04)
