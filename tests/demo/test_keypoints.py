"""Keypoints in: drawn maps of every layout, the crop's turn, the library's method and the command."""

import json

import numpy as np
import pytest

from data.keypoints.layouts import LAYOUTS
from demo import PoseEstimator
from demo.crops import rotation
from demo.keypoints import keypoint_persons
from tests.support.stick_figure import JOINTS, keypoints_of
from utils.errors import DiffPoseError
from utils.heatmaps import LOST_LEVEL
from utils.skeleton import MPII_JOINTS


@pytest.fixture(scope="module")
def estimator(run_folder):
    return PoseEstimator.load(run_folder / "config.yaml", num_hypotheses=6, device="cpu")


def peaks_px(person):
    cells = [np.unravel_index(heatmap.argmax(), heatmap.shape)[::-1] for heatmap in person.heatmaps]
    return person.cells_to_px(np.array(cells))


@pytest.mark.parametrize("name", LAYOUTS)
def test_maps_peak_at_the_figures_joints(name):
    person = keypoint_persons(keypoints_of(name), layout=name)[0]
    assert person.angle == 0
    truth = np.array([JOINTS[joint] for joint in MPII_JOINTS])
    assert np.abs(peaks_px(person) - truth).max() < 7 + person.side / 64  # a rule's error, and half a cell
    assert person.heatmaps.shape == (16, 64, 64)
    inside = (truth - person.corner) / person.side
    assert inside.min() > 0.05
    assert inside.max() < 0.95


@pytest.mark.parametrize("degrees", [45, 90, 180, -120])
def test_a_turned_figure_has_the_same_maps_in_a_turned_crop(degrees):
    points = keypoints_of("body25")
    upright = keypoint_persons(points)[0]
    turned = keypoint_persons(points @ rotation(np.radians(degrees)).T + 900)[0]
    assert np.degrees(turned.angle) % 360 == pytest.approx(degrees % 360)
    assert np.abs(turned.heatmaps - upright.heatmaps).max() < 0.15  # crops are of whole pixels
    still = keypoint_persons(points @ rotation(np.radians(degrees)).T + 900, crops="upright")[0]
    assert still.angle == 0


def test_confidence_makes_maps_wide_and_low_and_misses_unseen():
    sure = np.full((1, 17), 0.9)
    sure[0, [9, 10]] = 0.3, 0.0  # left wrist doubtful, right one missing
    person = keypoint_persons(keypoints_of("coco17"), sure)[0]
    left, right, ankle = (person.heatmaps[MPII_JOINTS.index(name)] for name in ("LWrist", "RWrist", "LFoot"))
    assert left.max() < 0.7 * ankle.max()
    assert (left > left.max() / 2).sum() > 2 * (ankle > ankle.max() / 2).sum()
    assert (right == np.float32(LOST_LEVEL)).all()
    assert np.isnan(person.joints_px[MPII_JOINTS.index("RWrist")]).all()


def test_the_librarys_method(estimator):
    points = np.concatenate([keypoints_of("halpe26"), keypoints_of("halpe26") + 40])
    poses = estimator.from_keypoints(points, np.full((2, 26), 0.9), layout="Halpe-26")
    assert poses.hypotheses_mm.shape == (2, 6, 17, 3)
    persons = keypoint_persons(points, np.full((2, 26), 0.9))
    same = estimator.from_heatmaps(np.stack([one.heatmaps for one in persons]), angles=[0, 0])
    np.testing.assert_array_equal(poses.hypotheses_mm, same.hypotheses_mm)
    sure = np.ones((2, 26))
    sure[1, 3:] = 0
    with pytest.raises(DiffPoseError, match="of row 1 fewer than 4 joints are seen"):
        estimator.from_keypoints(points, sure)
    with pytest.raises(DiffPoseError, match="of nobody"):
        estimator.from_keypoints(points[:0])


def test_the_command_on_a_sequence(demo, tmp_path):
    walk = keypoints_of("coco17") + 15 * np.arange(5)[:, None, None]
    two = np.stack([walk, walk[::-1] + np.array([400, 0])], axis=1)  # (5, 2, 17, 2)
    sure = np.full(two.shape[:3], 0.9)
    sure[0, 1, 4:] = 0  # hardly seen
    sure[:, 0, 9] = 0
    np.savez(tmp_path / "walk.npz", xy=two, confidence=sure)
    code, out, err = demo("--keypoints", tmp_path / "walk.npz")
    assert code == 0, err
    assert "9 poses of 6 hypotheses; heatmaps: keypoints (COCO, 17 keypoints), drawn heatmaps" in out
    assert "reprojected consensus" in out
    assert "nan" not in out
    assert "1 left out, of whom fewer than 4 of 16 joints are seen" in out
    with np.load(tmp_path / "out" / "poses.npz") as file:
        assert file["frame"].tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4]
        middle = file["crop_px"][:, 0] + file["crop_px"][:, 2] / 2
        first = middle[file["person"] == file["person"][0]]
        assert (np.diff(first) > 0).all()  # the number stays with the one who walks to the right
    text = json.loads((tmp_path / "out" / "poses.json").read_text(), parse_constant=pytest.fail)
    people = text["frames"][0]["people"][0]
    assert people["joints_px"][MPII_JOINTS.index("LWrist")] is None
    assert len(list((tmp_path / "out").glob("keypoints_*_poses.png"))) == 4
    assert "frame 3" in (tmp_path / "out" / "viewer.html").read_text()


def test_the_command_on_other_layouts_and_one_person(demo, tmp_path):
    people = [
        {"pose_keypoints_2d": np.insert(keypoints_of("body25")[0] * k, 2, 0.9, 1).ravel().tolist()} for k in (1, 2)
    ]
    (tmp_path / "a.json").write_text(json.dumps({"people": people}))
    assert demo("--keypoints", tmp_path / "a.json", "--layout", "body25", "--person", "0")[0] == 0
    with np.load(tmp_path / "out" / "poses.npz") as file:
        assert file["crop_px"].shape == (1, 3)
        assert file["crop_px"][0, 2] > 600  # the larger one
    np.save(tmp_path / "h.npy", keypoints_of("h36m17"))
    code, out, _ = demo("--keypoints", tmp_path / "h.npy", "--layout", "h36m17")
    assert code == 0
    assert "Human3.6M" in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--layout", "body25"], "a.npy: 17 keypoints, body25 has 25: choose coco17 or h36m17"),
        (["--layout", "nonsense"], "unknown layout 'nonsense'"),
        (["--person", "3"], "--person 3: frame 0 has 1"),
        (["--bbox", "1", "2", "3", "4"], "--bbox: it is for pictures"),
        (["--fps", "0"], "--fps 0: frames a second, from 0.1 to 10000"),
    ],
)
def test_one_line_for_what_does_not_go_together(demo, tmp_path, args, said):
    np.save(tmp_path / "a.npy", keypoints_of("coco17"))
    code, _, err = demo("--keypoints", tmp_path / "a.npy", *args)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_nobody_in_a_file(demo, tmp_path):
    np.savez(tmp_path / "a.npz", xy=keypoints_of("coco17"), confidence=np.full((1, 17), 0.01))
    code, _, err = demo("--keypoints", tmp_path / "a.npz")
    assert code == 2
    assert "no person found in 1 frame (1 left out" in err
    assert "check the layout (COCO, 17 keypoints)" in err
    code, _, err = demo("--input", tmp_path / "x.png", "--layout", "coco17")
    assert code == 2
    assert "--layout: it says what --keypoints are" in err


def test_the_command_on_a_table_of_deeplabcut(demo, tmp_path):
    points = keypoints_of("halpe26") + 15 * np.arange(3)[:, None, None]
    names = LAYOUTS["halpe26"].joints
    head = [["scorer"] + ["dlc"] * 52, ["bodyparts", *np.repeat(names, 2)], ["coords", *["x", "y"] * 26]]
    rows = [[str(k), *map(str, frame.ravel())] for k, frame in enumerate(points)]
    (tmp_path / "a.csv").write_text("\n".join(",".join(row) for row in head + rows))
    code, out, err = demo("--keypoints", tmp_path / "a.csv")
    assert code == 0, err
    assert "3 poses of 6 hypotheses; heatmaps: keypoints (Halpe, 26 keypoints)" in out
    with np.load(tmp_path / "out" / "poses.npz") as file:
        assert file["frame"].tolist() == [0, 1, 2]
        assert file["person"].tolist() == [0, 0, 0]
    code, out, _ = demo("--keypoints", tmp_path / "a.csv", "--layout", "coco17")
    assert code == 0
    assert "COCO, 17 keypoints" in out
