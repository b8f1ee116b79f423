"""BVH files as exporters write them: position channels that were never filled in, helpers and props, other files."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from data.preprocessing import mocap
from tests.support.bvh_files import bvh_text, walk
from tests.support.helpers import ROOT
from tests.support.raw_data import script_environment
from utils.errors import run_script
from utils.skeleton import H36M_JOINTS

ARMS = [f"{side} {part}" for side in ("left", "right") for part in ("elbow", "wrist")]
BELOW_ROOT = [
    ["spine", "chest", "neck", "head"],
    [f"{side} {part}" for side in ("left", "right") for part in ["clavicle", "shoulder", "hip", "knee", "ankle"]],
]
EVERYWHERE = [*ARMS, *BELOW_ROOT[0], *BELOW_ROOT[1]]
PROPS = {
    "sword": ("JOINT LeftHand\n", "JOINT LeftHand\n{\nJOINT Sword\n{\nOFFSET 150 0 0\n}\n"),
    "stick": ("JOINT Spine\n", "JOINT Stick\n{\nOFFSET 0 -160 0\n}\nJOINT Spine\n"),
    "camera": ("ROOT Hips\n", "ROOT Camera\n{\nOFFSET 300 -400 0\n}\nROOT Hips\n"),
    "ski": ("JOINT LeftFoot\n", "JOINT LeftFoot\n{\nJOINT Ski\n{\nOFFSET 0 -20 90\n}\n"),
}


TAKES = {
    "plain": bvh_text(walk(8)),
    "zeros_on_arms": bvh_text(walk(8), positions=dict.fromkeys(ARMS, 0.0)),
    "zeros_everywhere": bvh_text(walk(8), positions=dict.fromkeys(EVERYWHERE, 0.0)),
    "offsets_again": bvh_text(walk(8), positions=dict.fromkeys(EVERYWHERE, 1.0)),
}


def with_prop(before, after):
    """The plain text with further joints, which have no channels."""
    text = TAKES["plain"].replace("\t", "")
    if before.startswith("JOINT Left"):  # the new joint goes into that joint's own block
        before += "{\n"
    assert text.count(before) == 1
    return text.replace(before, after)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file for each entry of TAKES and PROPS, one without an ending, and what systems and downloads leave."""
    folder = tmp_path_factory.mktemp("takes")
    for name, text in (TAKES | {name: with_prop(*joints) for name, joints in PROPS.items()}).items():
        (folder / name).with_suffix("" if name == "offsets_again" else ".bvh").write_text(text)
    for name in ("._plain.bvh", ".DS_Store", "plain.bvh.md5", "Thumbs.db", "readme.txt"):
        (folder / name).write_bytes(b"\0\5\26\7")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._plain.bvh").write_bytes(b"\0")
    return folder


def convert(folder, output):
    """The result of the real command on a folder."""
    command = [sys.executable, ROOT / "data" / "preprocessing" / "mocap.py", "--input_dir", folder]
    command += ["--output_dir", output, "--workers", "1", "--test_share", "0"]
    return subprocess.run(command, env=script_environment(), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory):
    """(result, {take: its joints in the world (N, 17, 3), mm}); headings differ, heights and lengths should not."""
    output = tmp_path_factory.mktemp("out")
    result = convert(folder, output)
    assert result.returncode == 0, result.stderr
    joints = {}
    with h5py.File(output / "mocap_dataset.h5", locking=False) as file:
        rows, cameras = file["dataset/trainset"], file["dataset/cameras"]
        names = zip(rows["action"][()], rows["subject"][()], rows["cam"][()], rows["gt_3d"][()], strict=True)
        for action, subject, cam, pose in names:
            camera = cameras[subject.decode()][cam.decode()]
            world = (pose.T.astype(float) - camera["t"][()]) @ camera["R"][()]
            joints.setdefault(action.decode(), []).append(world)
    return result, {name: np.stack(poses) for name, poses in joints.items()}


def bone(poses, first, second):
    return np.linalg.norm(poses[:, H36M_JOINTS.index(first)] - poses[:, H36M_JOINTS.index(second)], axis=1)


def same_body_at_the_same_height(poses, plain):
    np.testing.assert_allclose(poses[..., 2], plain[..., 2], atol=0.1)
    for first, second in (("LShoulder", "LElbow"), ("RElbow", "RWrist"), ("RHip", "RKnee"), ("Hip", "Head")):
        np.testing.assert_allclose(bone(poses, first, second), bone(plain, first, second), atol=0.1)


@pytest.mark.parametrize("name", ["zeros_on_arms", "zeros_everywhere"])
def test_position_channels_that_hold_0_leave_the_offsets_and_it_is_said(converted, name):
    """Once: upper arms and forearms of 0 mm and exit code 0; and "the body is 0 units tall: state it by --unit"."""
    result, takes = converted
    np.testing.assert_allclose(bone(takes[name], "LElbow", "LWrist"), 250, atol=0.2)
    same_body_at_the_same_height(takes[name], takes["plain"])
    (note,) = [line for line in result.stdout.splitlines() if f"{name}.bvh: position channels of" in line]
    assert note.endswith("hold 0 throughout: their offsets were taken")
    assert "'LeftForeArm'" in note


def test_position_channels_that_repeat_the_offsets_change_nothing(converted):
    result, takes = converted
    same_body_at_the_same_height(takes["offsets_again"], takes["plain"])
    assert "offsets_again: position" not in result.stdout


@pytest.mark.parametrize("name", PROPS)
def test_what_is_not_the_body_does_not_move_the_floor(converted, name):
    """Once the floor lay below the lowest joint, whatever that was: a camera 4 m below raised the body by 4 m."""
    takes = converted[1]
    assert 20 < takes["plain"][..., 2].min() < 120
    same_body_at_the_same_height(takes[name], takes["plain"])


def test_files_that_are_no_motion_are_passed_over_with_a_count(converted, folder):
    result, takes = converted
    assert set(takes) == {*TAKES, *PROPS}
    assert f"note: {folder}: 5 files are no motion files" in result.stderr


@pytest.mark.parametrize(
    ("share", "joints", "words"),
    [
        (0.1, ARMS, ("'LeftForeArm' is 28 mm from 'LeftArm' in 100 % of the frames, people have 180 to 420",)),
        (0.001, EVERYWHERE, ("units tall", "position channels of")),
    ],
)
def test_channels_that_shorten_bones_are_named(tmp_path, monkeypatch, capsys, share, joints, words):
    (tmp_path / "take.bvh").write_text(bvh_text(walk(8), positions=dict.fromkeys(joints, share)))
    given = ["mocap.py", "--input_dir", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--workers", "1"]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit, match="2"):
        run_script(mocap.main)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    for word in (*words, "'LeftForeArm'", "take the place of their offsets"):
        assert word in line
