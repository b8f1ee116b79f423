"""Wide cameras, lists of recordings, and the lists that are committed."""

import json
import sys

import h5py
import numpy as np
import pytest

from data.preprocessing import mocap
from data.preprocessing.motion_capture import wide_cameras
from data.preprocessing.motion_capture.recording_list import find_listed, read_recording_list
from data.preprocessing.motion_capture.takes import TakeOptions, load_take
from data.preprocessing.motion_capture.wide_cameras import draw_wide_camera
from data.preprocessing.validate import validate
from tests.support.deepmimic_files import standing, turned, write_clip
from tests.support.helpers import ROOT
from utils.errors import DiffPoseError, run_script

LISTS = ROOT / "experiments" / "synthetic" / "real_motion"


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    path = write_clip(tmp_path_factory.mktemp("clip") / "a.txt", standing(30, left_shoulder=turned(70, "x")))
    joints = load_take(path, TakeOptions()).joints_mm.astype(float)
    joints[:, :, 0] += np.linspace(-300, 300, len(joints))[:, None]
    return joints


def test_wide_cameras_are_as_stated(poses):
    generator = np.random.default_rng(0)
    pitch, roll, heading, distance, fill, outside = [], [], [], [], [], []
    for _ in range(800):
        camera = draw_wide_camera(poses, generator, name="W0000001")
        target = (poses.reshape(-1, 3).min(0) + poses.reshape(-1, 3).max(0)) / 2
        way = target - camera.position
        distance.append(np.linalg.norm(way))
        pitch.append(np.degrees(np.arcsin(-way[2] / distance[-1])))
        heading.append(np.degrees(np.arctan2(way[1], way[0])))
        roll.append(np.degrees(np.arctan2(camera.rotation[0, 2], -camera.rotation[1, 2])))
        pixels = camera.project(camera.to_camera(poses))
        outside.append(max(-pixels.min(), pixels.max() - wide_cameras.PICTURE))
        fill.append(np.ptp(pixels, axis=1).max() / wide_cameras.PICTURE)
        assert camera.to_camera(poses)[..., 2].min() > 800
        np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-9)
        assert camera.position[2] >= wide_cameras.MIN_HEIGHT_MM - 1
    assert np.mean(np.array(outside) > 0) < 0.01  # who comes near and fills the picture may lose a hand
    assert max(outside) < 100
    assert np.mean(pitch) == pytest.approx(7, abs=1.5)
    assert np.std(pitch) == pytest.approx(15, abs=2)
    assert -25 <= np.min(pitch) < -20
    assert 45 < np.max(pitch) <= 60
    assert abs(np.mean(roll)) < 0.6
    assert 3 < np.std(roll) < 6
    assert 1800 <= np.min(distance) < 2200
    assert 7500 < np.max(distance) <= 8000
    assert np.histogram(heading, 8, (-180, 180))[0].min() > 50
    assert 0.3 < np.min(fill) < 0.45
    assert 0.75 < np.max(fill) < 0.95


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["mocap.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        run_script(mocap.main)
    return stop.value.code


def columns(path):
    with h5py.File(path) as file:
        return {name: column[:] for name, column in file["dataset/testset"].items()}


def test_command_with_wide_cameras_and_a_list(tmp_path, monkeypatch):
    walking = standing(80, left_knee=-0.4)
    walking[:, 1] = np.linspace(0, 2.2, len(walking))
    write_clip(tmp_path / "in" / "x" / "walk.txt", walking)
    write_clip(tmp_path / "in" / "y" / "lie.txt", standing(12, root=turned(-90, "z"), place=(0, 0.1, 0)))
    write_clip(tmp_path / "in" / "unlisted.txt", standing())
    (tmp_path / "list.txt").write_text("[everyday]\nstroll: walk.txt\n[floor]  # quiet\nrest: lie.txt\n")
    command = ["--input_dir", tmp_path / "in", "--recordings", tmp_path / "list.txt", "--test_share", 1]
    command += ["--cameras", "wide", "--seed", 5, "--output_dir", tmp_path, "--file_name"]
    assert run(monkeypatch, *command, "a.h5", "--workers", 1) == 0
    assert run(monkeypatch, *command, "b.h5", "--workers", 1) == 0
    assert run(monkeypatch, *command, "c.h5", "--workers", 1, "--seed", 6) == 0
    one, two, other = (columns(tmp_path / name) for name in ("a.h5", "b.h5", "c.h5"))
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)
    assert not np.array_equal(one["gt_3d"], other["gt_3d"])
    assert set(one["action"]) == {b"stroll", b"rest"}
    with h5py.File(tmp_path / "a.h5") as file:
        assert json.loads(file["dataset"].attrs["recordings"]) == {"everyday": ["stroll"], "floor": ["rest"]}
        stored = [camera for subject in file["dataset/cameras"].values() for camera in subject]
    assert len(set(stored)) == len(stored) == len(set(one["cam"]))
    assert len(set(one["cam"][one["action"] == b"stroll"])) >= 3 * wide_cameras.VIEWS  # the way is over 2 m long
    assert max(np.unique(one["cam"], return_counts=True)[1]) <= 12
    assert validate(tmp_path / "a.h5", show_progress=False).findings == []


def test_rows_do_not_depend_on_the_other_recordings_of_a_list(tmp_path, monkeypatch):
    for name in ("walk", "wave"):
        write_clip(tmp_path / "in" / f"{name}.txt", standing(20, left_shoulder=turned(40, "x")))
    for number, text in enumerate(("one: walk.txt\ntwo: wave.txt", "two: wave.txt")):
        (tmp_path / "list.txt").write_text(text)
        command = ["--input_dir", tmp_path / "in", "--recordings", tmp_path / "list.txt", "--test_share", 1]
        command += ["--cameras", "wide", "--output_dir", tmp_path, "--file_name", f"{number}.h5", "--workers", 1]
        assert run(monkeypatch, *command) == 0
    both, alone = columns(tmp_path / "0.h5"), columns(tmp_path / "1.h5")
    np.testing.assert_array_equal(both["heatmap"][both["action"] == b"two"], alone["heatmap"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: x.txt\na: y.txt", "line 2: .*listed twice"),
        ("a: x.txt\nb: x.txt", "line 2: .*listed twice"),
        ("[k]\nno colon", "line 2: 'no colon' is neither"),
        ("a name of many words: x", "is neither"),
        ("seventeen_letters: x", "is neither"),
        ("# nothing", "lists no recording"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DiffPoseError, match=message):
        read_recording_list(tmp_path / "list.txt")
    with pytest.raises(DiffPoseError, match="cannot be read"):
        read_recording_list(tmp_path / "none.txt")


def test_listed_files_must_be_there_once(tmp_path):
    (tmp_path / "list.txt").write_text("\ufeff[kind]\r\na: x.txt\r\n")  # as Windows' editors save it
    listed = read_recording_list(tmp_path / "list.txt")
    assert [(one.name, one.file, one.kind) for one in listed] == [("a", "x.txt", "kind")]
    files = [tmp_path / "p" / "x.txt", tmp_path / "q" / "x.txt"]
    assert find_listed(listed, tmp_path, files[:1]) == files[:1]
    with pytest.raises(DiffPoseError, match=r"2 files are called 'x\.txt'"):
        find_listed(listed, tmp_path, files)
    with pytest.raises(DiffPoseError, match=r"no file is called 'x\.txt'"):
        find_listed(listed, tmp_path, [])


def test_committed_lists_keep_recordings_apart():
    validation, report = (read_recording_list(LISTS / f"{name}.txt") for name in ("validation", "report"))
    files = [recording.file for recording in (*validation, *report)]
    known = {line.split()[1] for line in (LISTS / "clips.sha256").read_text().splitlines()}
    assert len(set(files)) == len(files) == 22
    assert set(files) == known
    assert len(report) > len(validation)
    for recordings in (validation, report):
        assert {recording.kind for recording in recordings} == {"everyday", "sports and floor"}
