"""--export: the table and the TRC files of a track, read back by other readers, and one line for what can't be."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
import torch

from data.preprocessing.motion_capture.bvh import read_bvh
from demo.motion_export import MotionExport
from demo.output import Row
from demo.person import Person
from demo.tracks import TrackChoice, TrackCollector, clock_of, grid_of
from demo.trc import marker_names
from tests.demo.test_inference import film, picture
from tests.demo.test_inputs import animation
from tests.support.stick_figure import keypoints_of
from utils.errors import DiffPoseError
from utils.evaluation.consensus import Modes
from utils.skeleton import H36M17, H36M_JOINTS, SMPL24


def read_trc(path):
    """(header, {marker: (frames, 3) m}) by the independent reader."""
    data = pytest.importorskip("trc").TRCData()
    data.load(str(path))
    return data, {name: np.array(data[name]) for name in data["Markers"]}


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def results(folder):
    with np.load(folder / "poses.npz") as file:
        return dict(file)


def row(frame, number=0, *, modes=1, seed=0):
    generator = np.random.default_rng([seed, frame, number])
    poses = generator.normal(0, 300, (4, 17, 3)).astype(np.float32)
    groups = Modes(torch.from_numpy(poses[:modes]), torch.full((modes,), 1 / modes), torch.zeros(4, dtype=torch.long))
    person = Person(np.zeros(2), 1.0, np.zeros((16, 1, 1)), np.zeros((16, 2)), np.zeros(16))
    return Row("a", frame, number, person, poses, poses.mean(0), np.arange(17.0), np.arange(17) == 13, groups)


def test_a_video_with_two_people_and_a_gap(demo, tmp_path):
    path = film(tmp_path / "film.avi", [1, 1, 0, 1, 2, 2, 1])
    code, out, err = demo("--input", path, "--export", "trc", "csv")
    assert code == 0, err
    assert "exported consensus: person_0.trc, person_1.trc, poses.csv" in out
    assert "gaps: 1 frames without the person" in out
    arrays = results(tmp_path / "out")
    data, markers = read_trc(tmp_path / "out" / "person_0.trc")
    assert (data["DataRate"], data["NumFrames"], data["NumMarkers"], data["Units"]) == (10.0, 7, 17, "m")
    assert data["Frame#"] == [1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(data["Time"], np.arange(7) / 10, atol=1e-6)
    assert data["Markers"] == marker_names(H36M_JOINTS)
    found = np.stack([markers[name] for name in marker_names(H36M_JOINTS)], axis=1)  # (7, 17, 3)
    assert np.isnan(found[2]).all()
    own = arrays["consensus_mm"][arrays["person"] == 0]
    seen = 1000 * found[[0, 1, 3, 4, 5, 6]]
    lift = seen[0, 0, 1] - own[0, 0, 1]
    np.testing.assert_allclose(seen, own + np.array([0, lift, 0]), atol=1e-3)
    second, _ = read_trc(tmp_path / "out" / "person_1.trc")
    assert second["Frame#"] == [5, 6]
    assert second["Time"] == [0.4, 0.5]

    rows = read_table(tmp_path / "out" / "poses.csv")
    assert len(rows) == 8 * 17
    assert Counter(one["person"] for one in rows) == {"0": 6 * 17, "1": 2 * 17}
    wrist = [one for one in rows if one["joint"] == "LWrist" and one["person"] == "0"]
    assert [float(one["time_s"]) for one in wrist] == pytest.approx([0, 0.1, 0.3, 0.4, 0.5, 0.6], abs=1e-4)
    values = np.array([[float(one[f"{axis}_mm"]) for axis in "xyz"] for one in wrist])
    np.testing.assert_allclose(values, own[:, 13], atol=0.006)
    spread = np.array([float(one["spread_mm"]) for one in wrist])
    np.testing.assert_allclose(spread, arrays["spread_mm"][arrays["person"] == 0, 13], atol=0.006)
    assert [int(one["guessed"]) for one in wrist] == arrays["guessed"][arrays["person"] == 0, 13].tolist()


def test_every_other_frame_and_the_smooth_track(demo, tmp_path):
    path = film(tmp_path / "film.avi", [1] * 8)
    code, out, err = demo("--input", path, "--every", "2", "--smooth", "--export", "trc", "csv")
    assert code == 0, err
    assert "exported smooth consensus" in out
    arrays = results(tmp_path / "out")
    assert np.abs(arrays["smooth_mm"] - arrays["consensus_mm"]).max() > 1
    data, markers = read_trc(tmp_path / "out" / "person_0.trc")
    assert (data["DataRate"], data["NumFrames"]) == (5.0, 4)
    np.testing.assert_allclose(np.diff(data["Time"]), 0.2, atol=1e-6)
    moved = np.diff(1000 * markers["LWrist"], axis=0)
    np.testing.assert_allclose(moved, np.diff(arrays["smooth_mm"][:, 13], axis=0), atol=2e-3)
    knee = [one for one in read_table(tmp_path / "out" / "poses.csv") if one["joint"] == "LKnee"]
    np.testing.assert_allclose([float(one["x_mm"]) for one in knee], arrays["smooth_mm"][:, 5, 0], atol=0.006)


def test_one_hypothesis_and_one_mode(demo, tmp_path):
    path = film(tmp_path / "film.avi", [1, 2])
    assert demo("--input", path, "--export", "csv", "--export_track", "hypothesis:3")[0] == 0
    code, out, _ = demo("--input", path, "--export", "csv", "--export_track", "mode:0")
    assert code == 0
    assert "exported mode 0: poses_mode_0.csv" in out
    arrays = results(tmp_path / "out")
    for name, wanted in (
        ("hypothesis_3", arrays["hypotheses_mm"][:, 3]),
        ("mode_0", arrays["mode_poses_mm"][:, 0]),
    ):
        rows = read_table(tmp_path / "out" / f"poses_{name}.csv")
        values = np.array([[float(one[f"{axis}_mm"]) for axis in "xyz"] for one in rows]).reshape(-1, 17, 3)
        np.testing.assert_allclose(values, wanted, atol=0.006)


def test_pictures_have_files_of_their_own(demo, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture(folder / "a.png", 1)
    picture(folder / "a.bmp", 2)
    picture(folder / "b person_0.png", 1)
    code, out, err = demo("--input", folder, "--export", "trc", "csv")
    assert code == 0, err
    assert "frame rate" not in out
    names = {path.name for path in (tmp_path / "out").glob("*.trc")}
    assert names == {
        "a.bmp_person_0.trc",
        "a.bmp_person_1.trc",
        "a.png_person_0.trc",
        "b person_0_person_0.trc",
    }
    for name in names:
        assert read_trc(tmp_path / "out" / name)[0]["NumFrames"] == 1
    rows = read_table(tmp_path / "out" / "poses.csv")
    assert {one["source"] for one in rows} == {"a.png", "a.bmp", "b person_0.png"}
    assert {one["time_s"] for one in rows} == {""}


def test_keypoints_have_the_rate_that_the_user_gives(demo, tmp_path):
    np.save(tmp_path / "walk.npy", keypoints_of("coco17") + 15 * np.arange(5)[:, None, None])
    code, out, err = demo("--keypoints", tmp_path / "walk.npy", "--export", "trc")
    assert code == 0, err
    assert "frame rate: unknown, 25 a second written: give it with --fps" in out
    assert read_trc(tmp_path / "out" / "person_0.trc")[0]["DataRate"] == 25
    code, out, _ = demo("--keypoints", tmp_path / "walk.npy", "--export", "trc", "csv", "--fps", "50")
    assert code == 0
    assert "frame rate" not in out
    assert read_trc(tmp_path / "out" / "person_0.trc")[0]["Time"] == [0, 0.02, 0.04, 0.06, 0.08]
    times = [one["time_s"] for one in read_table(tmp_path / "out" / "poses.csv")]
    assert [float(time) for time in times[::17]] == [0, 0.02, 0.04, 0.06, 0.08]


def test_keypoint_files_that_are_missing_are_gaps(demo, tmp_path):
    (tmp_path / "clip").mkdir()
    for number in (4, 6, 12):  # 8 and 10 are missing, odd ones are passed over
        points = np.insert(keypoints_of("body25")[0] + 15 * number, 2, 0.9, 1)
        content = {"people": [{"pose_keypoints_2d": points.ravel().tolist()}]}
        (tmp_path / "clip" / f"clip_{number:012d}_keypoints.json").write_text(json.dumps(content))
    command = ["--keypoints", tmp_path / "clip", "--every", "2", "--export", "trc", "csv", "--fps", "50"]
    code, out, err = demo(*command)
    assert code == 0, err
    assert "gaps: 2 frames without the person" in out
    data, markers = read_trc(tmp_path / "out" / "person_0.trc")
    assert (data["DataRate"], data["NumFrames"]) == (25.0, 5)
    assert np.isnan(markers["Hip"][:, 0]).tolist() == [False, False, True, True, False]
    rows = read_table(tmp_path / "out" / "poses.csv")[::17]
    assert [(one["frame"], float(one["time_s"])) for one in rows] == [("4", 0.0), ("6", 0.04), ("12", 0.16)]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--export", "fbx"], "--export fbx: unknown format: choose from"),
        (["--export_track", "mode:0"], "--export_track: it says how to --export"),
        (["--export", "csv", "--export_track", "best"], "--export_track best: choose consensus, or"),
        (["--export", "csv", "--export_track", "mode:-1"], "--export_track mode:-1: choose consensus, or"),
        (["--export", "csv", "--export_track", "hypothesis:6"], "there are 6 hypotheses: from hypothesis:0 to hypoth"),
        (["--export", "csv", "--export_track", "mode:77"], "--export_track mode:77: no frame has it: from mode:0 to"),
        (["--export", "csv", "--fps", "30"], "--fps: it is for --keypoints"),
    ],
)
def test_one_line_for_what_cannot_be_exported(demo, tmp_path, args, said):
    code, _, err = demo("--input", picture(tmp_path / "one.png"), *args)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_file_in_the_way_is_named_and_the_poses_are_kept(demo, tmp_path):
    (tmp_path / "out" / "poses.csv").mkdir(parents=True)
    code, _, err = demo("--input", picture(tmp_path / "one.png"), "--export", "csv")
    assert code == 2
    assert "poses.csv: cannot be written" in err
    assert len(err.strip().splitlines()) == 1
    assert json.loads((tmp_path / "out" / "poses.json").read_text())["frames"]


def test_frames_without_the_mode_are_gaps():
    collector = TrackCollector(TrackChoice.parse("mode:1", 4), followed=True)
    for frame, modes in enumerate((2, 1, 3)):
        collector.add([row(frame, modes=modes)], step=frame, time_s=frame / 10)
    (track,) = collector.people().values()
    assert [one.frame for one in track] == [0, 2]
    grid = grid_of(track, clock_of(collector.steps, collector.times_s, 10.0))
    assert grid.missing.tolist() == [False, True, False]
    collector = TrackCollector(TrackChoice.parse("mode:3", 4), followed=True)
    collector.add([row(0, modes=3)], step=0, time_s=0.0)
    with pytest.raises(DiffPoseError, match="from mode:0 to mode:2 are there"):
        collector.people()


def test_even_rates_stay_and_varying_ones_are_resampled():
    rounded = np.round(np.arange(2000) / 29.97, 3)
    assert clock_of(range(2000), rounded.tolist(), 29.97).rate == 29.97
    clock = clock_of(range(2000), rounded.tolist(), 30.0)  # the file's rate is wrong: two frames too many at its end
    assert clock.is_even
    assert clock.rate == pytest.approx(29.97, rel=1e-4)
    assert (clock.places == np.arange(2000)).all()

    times = np.cumsum([0.0, *[0.1, 0.2] * 10])  # a rate of 6.67 on average
    clock = clock_of(range(21), times.tolist(), 10.0)
    assert not clock.is_even
    assert clock.rate == pytest.approx(20 / 3)
    collector = TrackCollector(TrackChoice(), followed=True)
    ramp = np.arange(51).reshape(17, 3)
    for frame, time in enumerate(times):
        one = row(frame)
        one.consensus_mm[:] = 100 * time * ramp
        collector.add([one] if frame not in (7, 8) else [], step=frame, time_s=time)
    (track,) = collector.people().values()
    grid = grid_of(track, clock)
    poses = grid.between(np.stack([one.pose_mm for one in track]))
    wanted = 100 * (np.arange(21) / clock.rate)[:, None, None] * ramp
    np.testing.assert_allclose(poses, wanted, atol=1e-3)  # what moves evenly still does
    assert grid.missing.tolist() == [6 < number < 9 for number in range(21)]


def test_markers_have_the_names_of_opensim_and_pose2sim():
    names = marker_names(H36M17.joints)
    wanted = "Hip RHip RKnee RAnkle LHip LKnee LAnkle Spine Neck Face Head LShoulder LElbow LWrist RShoulder RElbow"
    assert names == [*wanted.split(), "RWrist"]
    assert marker_names(SMPL24.joints) == list(SMPL24.joints)


def test_an_uneven_video_is_resampled_and_said(demo, tmp_path):
    path = animation(tmp_path / "a.gif", [100, 300, 100, 100, 300, 100])  # a second person in every other frame
    code, out, err = demo("--input", path, "--export", "bvh", "trc", "csv")
    assert code == 0, err
    assert "frame rate: varies; resampled evenly to 5.556 a second" in out
    data, markers = read_trc(tmp_path / "out" / "person_0.trc")
    np.testing.assert_allclose(data["Time"], np.arange(6) * 0.18, atol=1e-5)
    arrays = results(tmp_path / "out")
    own = arrays["consensus_mm"][arrays["person"] == 0]
    knee = 1000 * markers["RKnee"]
    np.testing.assert_allclose(knee[[0, 5], 0], own[[0, 5], 2, 0], atol=1e-2)
    between = own[1, 2, 0] + (0.18 - 0.1) / 0.3 * (own[2, 2, 0] - own[1, 2, 0])
    assert knee[1, 0] == pytest.approx(between, abs=1e-2)
    assert read_bvh(tmp_path / "out" / "person_0.bvh").frame_time == pytest.approx(0.18)
    rows = read_table(tmp_path / "out" / "poses.csv")[::17]
    times = [float(one["time_s"]) for one in rows if one["person"] == "0"]
    assert times == pytest.approx([0, 0.1, 0.4, 0.5, 0.6, 0.9])


def test_bvh_is_for_human36ms_joints(tmp_path):
    MotionExport(tmp_path, ["trc", "csv"], "consensus", skeleton=SMPL24, followed=True, rate=25.0)
    with pytest.raises(DiffPoseError, match=r"--export bvh: it is for Human3\.6M's joints, not those of smpl24"):
        MotionExport(tmp_path, ["csv", "bvh"], "consensus", skeleton=SMPL24, followed=True, rate=25.0)
