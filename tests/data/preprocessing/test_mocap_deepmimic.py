"""DeepMimic's clips: kinematics with known answers, left is left, time, and files that are refused."""

import json

import numpy as np
import pytest

from data.preprocessing.motion_capture.bvh import read_bvh
from data.preprocessing.motion_capture.deepmimic import is_deepmimic, read_deepmimic
from data.preprocessing.motion_capture.plan import find_files
from data.preprocessing.motion_capture.takes import TakeOptions, load_take
from tests.support.bvh_files import write_bvh
from tests.support.deepmimic_files import PARTS, standing, turned, write_clip
from utils.errors import DiffPoseError
from utils.skeleton import H36M_JOINTS

J = {name: number for number, name in enumerate(H36M_JOINTS)}


def joints_of(path, **parts):
    """The first pose (17, 3), mm, relative to the middle of the hips; x is ahead, y to the left, z up."""
    take = load_take(write_clip(path / "clip.txt", standing(**parts)), TakeOptions())
    return take.joints_mm[0] - take.joints_mm[0, 0]


def test_identity_pose(tmp_path):
    take = load_take(write_clip(tmp_path / "clip.txt", standing()), TakeOptions())
    pose = take.joints_mm[0]
    expected = {
        "Hip": (0, 0, 881.416),
        "LHip": (0, 84.887, 881.416),
        "RHip": (0, -84.887, 881.416),
        "LKnee": (0, 84.887, 459.87),
        "RFoot": (0, -84.887, 50),
        "Thorax": (0, 0, 881.416 + 460.045),
        "Head": (0, 0, 881.416 + 460.045 + 277.5),
        "LShoulder": (-24.05, 183.11, 881.416 + 479.651),
        "LElbow": (-24.05, 183.11, 881.416 + 204.863),
        "RWrist": (-24.05, -183.11, 881.416 - 54.084),
    }
    for name, place in expected.items():
        np.testing.assert_allclose(pose[J[name]], place, atol=0.01, err_msg=name)
    assert (take.unit, take.frame_rate) == ("m", pytest.approx(25))
    assert 1600 < take.stature_mm < 1700


def test_left_is_left_and_limbs_turn_as_they_should(tmp_path):
    """A left arm raised sideways, its elbow bent to the front; a right knee bent to the back."""
    bent = {"left_shoulder": turned(90, "x"), "left_elbow": np.pi / 2, "right_knee": -np.pi / 2}
    pose, still = joints_of(tmp_path, **bent), joints_of(tmp_path)
    elbow = still[J["LShoulder"]] + (0, 274.788, 0)
    np.testing.assert_allclose(pose[J["LElbow"]], elbow, atol=0.01)
    np.testing.assert_allclose(pose[J["LWrist"]], elbow + np.array((258.947, 0, 0)), atol=0.01)
    np.testing.assert_allclose(pose[J["RFoot"]], still[J["RKnee"]] - (409.87, 0, 0), atol=0.01)
    unmoved = [J[name] for name in ("RWrist", "RKnee", "LFoot", "Thorax", "Head", "LShoulder")]
    np.testing.assert_allclose(pose[unmoved], still[unmoved], atol=0.01)


def test_turns_are_passed_on_along_the_skeleton(tmp_path):
    """The root turned to the left by 90 degrees carries all; a chest bent forwards carries arms and head only."""
    still = joints_of(tmp_path)
    left = joints_of(tmp_path, root=turned(90, "y"))
    np.testing.assert_allclose(left, still @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]), atol=0.01)
    bowed = joints_of(tmp_path, chest=turned(-90, "z"))
    np.testing.assert_allclose(bowed[J["Thorax"]], (223.894, 0, 236.151), atol=0.01)
    np.testing.assert_allclose(bowed[J["LShoulder"]], (243.5, 183.11, 236.151 + 24.05), atol=0.01)
    np.testing.assert_allclose(bowed[J["Spine"]], still[J["Spine"]], atol=0.01)
    np.testing.assert_allclose(bowed[J["LFoot"]], still[J["LFoot"]], atol=0.01)
    doubled = joints_of(tmp_path, chest=1.4 * np.array(turned(-90, "z")))  # blended quaternions are not unit ones
    np.testing.assert_allclose(doubled, bowed, atol=0.01)


def test_people_on_the_floor_are_read_without_options(tmp_path):
    """A clip states which way is up, so that nobody needs to stand in it."""
    lying = load_take(write_clip(tmp_path / "a.txt", standing(root=turned(-90, "z"), place=(0, 0.1, 0))), TakeOptions())
    assert np.ptp(lying.joints_mm[..., 2]) < 500
    assert lying.joints_mm[..., 2].min() > 0


def test_frames_are_taken_by_the_time_that_has_passed(tmp_path):
    frames = standing(101, duration=0.01)
    frames[:, 1] = np.arange(101) / 100  # a metre a second
    frames[50:, 0] = 0.02  # then a frame stands for 20 ms
    frames[-1, 0] = 0
    motion = read_deepmimic(write_clip(tmp_path / "a.txt", frames))
    assert motion.frame_time == pytest.approx(0.01, abs=0.011)
    seconds = motion.frame_time * np.arange(motion.num_frames)
    expected = np.where(seconds < 0.5, seconds, 0.5 + (seconds - 0.5) / 2)
    assert np.abs(motion.values[:, 0] - expected).max() < 0.0101
    assert seconds[-1] == pytest.approx(1.5, abs=motion.frame_time)
    assert read_deepmimic(write_clip(tmp_path / "b.txt", standing(1))).num_frames == 1


def test_a_clip_is_told_by_its_content(tmp_path):
    clip = write_clip(tmp_path / "in" / "a" / "walk.txt", standing())
    renamed = write_clip(tmp_path / "in" / "a" / "named.bvh", standing())
    (tmp_path / "in" / "notes.txt").write_text('"Loop" and "Frames" in a text')
    (tmp_path / "in" / "other.json").write_text('{"frames": 3}')
    bvh = write_bvh(tmp_path / "in" / "b.bvh")
    assert find_files(tmp_path / "in") == [renamed, clip, bvh]
    assert [is_deepmimic(path) for path in (clip, renamed, bvh, tmp_path / "none")] == [True, True, False, False]
    assert load_take(renamed, TakeOptions(unit="cm", up="z", mirror=True)).unit == "m"
    assert read_bvh(bvh).num_frames > 0


def spoilt(number, part, value):
    frames = standing().tolist()
    frames[number - 1][PARTS[part][0]] = value
    return {"Loop": "wrap", "Frames": frames}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps({"Loop": 1, "Frames": standing().tolist()})[:-100], "not whole JSON"),
        (json.dumps({"Loop": 1, "Frames": []}), "no list of frames"),
        (json.dumps({"Loop": 1, "Frames": 7}), "no list of frames"),
        (json.dumps({"Loop": 1, "Frames": [[0.0] * 20]}), "frame 1 holds 20 numbers.*holds 44"),
        (json.dumps(spoilt(3, "left elbow", float("nan"))), "frame 3 holds something"),
        (json.dumps(spoilt(2, "place", "1")), "frame 2 holds something"),
        (json.dumps(spoilt(4, "place", 10**400)), "frame 4 holds something"),
        (json.dumps(spoilt(5, "left hip", 9.0)), "frame 5: LeftHip's quaternion has length 9, not 1"),
        (json.dumps(spoilt(5, "duration", -1.0)), "frame durations"),
        (json.dumps({"Loop": 1, "Frames": standing(duration=0).tolist()}), "frame durations"),
        (json.dumps({"Loop": 1, "Frames": standing(duration=60).tolist()}), "frame durations"),
    ],
)
def test_bad_clips_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "clip.txt"
    path.write_text(content)
    assert is_deepmimic(path)
    with pytest.raises(DiffPoseError, match=message) as error:
        load_take(path, TakeOptions())
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
