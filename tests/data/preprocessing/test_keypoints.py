"""VideoPose3D's pair of files: small ones in the true form -> HDF5 -> train -> eval, and one line for wrong ones."""

import pickle
import runpy
import sys

import cv2
import h5py
import numpy as np
import pytest

from data.preprocessing.h36m.source import JOINTS
from data.preprocessing.validate import validate
from data.preprocessing.videopose3d.cameras import CAMERAS, camera_of
from data.preprocessing.videopose3d.npz_files import read_member
from data.preprocessing.videopose3d.rows import read_pair
from data.schema import SUBJECTS
from data.synthetic.actions import perform
from data.synthetic.bodies import subject_body
from tests.conftest import TINY
from tests.support.helpers import ROOT
from tests.support.processes import run_in_fork
from utils.errors import DiffPoseError, run_script
from utils.heatmaps import LOST_LEVEL
from utils.skeleton import MPII_TO_H36M

FRAMES = 61
ALL = [subject for names in SUBJECTS["h36m"].values() for subject in names]


def world_poses(subject, action, number):
    """(F, 32, 3) m: the 17 that move, and copies of the hip where the raw recordings have others."""
    generator = np.random.default_rng(number)
    joints = perform(action, 0, subject_body("S1"), FRAMES, generator) / 1000
    poses = np.repeat(joints[:, :1], 32, axis=1)
    poses[:, list(JOINTS)] = joints
    return poses.astype(np.float32)


def make_pair(folder, subjects=("S1", "S9"), actions=("Walking 1", "Sitting"), longer=2):
    """Both files; the 2D points are the projections, a few px off, with ``longer`` more frames."""
    poses = {
        subject: {
            action: world_poses(subject, action.split()[0], 10 * i + j)
            for j, action in enumerate(sorted(actions if subject != "S1" else ("Walking 1", "Sitting 1")))
        }
        for i, subject in enumerate(subjects)
    }
    points = {}
    for subject, own in poses.items():
        points[subject] = {}
        for action, world in own.items():
            seen = []
            for name in CAMERAS:
                camera = camera_of(subject, name)
                flat = camera.project(camera.to_camera(world[:, list(JOINTS)] * 1000.0))
                seen.append(np.concatenate([flat, flat[-1:].repeat(longer, 0)]).astype(np.float32) + 2)
            points[subject][action] = seen
    about = {
        "layout_name": "h36m",
        "num_joints": 17,
        "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
    }
    np.savez_compressed(folder / "data_3d_h36m.npz", positions_3d=poses)
    np.savez_compressed(folder / "data_2d_h36m_cpn.npz", positions_2d=points, metadata=about)
    return poses, points


def command(folder, *args):
    return [
        "keypoints.py",
        "--poses_3d",
        str(folder / "data_3d_h36m.npz"),
        "--poses_2d",
        str(folder / "data_2d_h36m_cpn.npz"),
        "--output_dir",
        str(folder / "out"),
        *map(str, args),
    ]


@pytest.fixture
def convert(monkeypatch, capsys):
    def run(folder, *args):
        monkeypatch.setattr(sys, "argv", command(folder, *args))
        module = runpy.run_path(str(ROOT / "data" / "preprocessing" / "keypoints.py"))
        with pytest.raises(SystemExit) as stop:
            run_script(module["main"])
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out, out.err

    return run


@pytest.mark.parametrize("subject", ALL)
@pytest.mark.parametrize("name", CAMERAS)
def test_cameras_look_at_the_room(subject, name):
    camera = camera_of(subject, name)
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-6)
    place = -camera.rotation.T @ camera.offset_mm
    assert 1400 < place[2] < 1700
    hip, head = (camera.project(camera.to_camera(np.array([0.0, 0.0, height]))) for height in (900.0, 1600.0))
    assert (np.abs(hip - 500) < 250).all()
    assert hip[1] - head[1] > 80  # up is up
    points = np.random.default_rng(0).uniform((-600, -600, 0), (600, 600, 1700), (50, 3))
    distortion = np.array([*camera.radial[:2], *camera.tangential, camera.radial[2]])
    turn = cv2.Rodrigues(camera.rotation)[0]
    theirs = cv2.projectPoints(points, turn, camera.offset_mm, camera.matrix, distortion)[0][:, 0]
    assert np.abs(camera.project(camera.to_camera(points)) - theirs).max() < 0.5


def test_rows_in_human36ms_order_with_drawn_maps(tmp_path, convert):
    poses, points = make_pair(tmp_path)
    hard = tmp_path / "hard"
    hard.write_text("/S9/Walking 1.55011271/8.jpg\n")
    code, out, err = convert(tmp_path, "--hard_subset", hard)
    assert code == 0, err
    assert "16 recordings are longer in one file than in the other: cut to the shorter" in err
    assert "trainset: 120 rows of 8 recordings (S1)" in out
    assert "testset: 120 rows of 8 recordings (S9)" in out
    assert validate(tmp_path / "out" / "H36M_keypoints_dataset.h5", show_progress=False).findings == []
    with h5py.File(tmp_path / "out" / "H36M_keypoints_dataset.h5") as file:
        root, group = file["dataset"], file["dataset/testset"]
        assert root.attrs["source"].decode().startswith("heatmaps drawn from keypoints of Human3.6M")
        assert root.attrs["detector"].decode() == "drawn from the keypoints of data_2d_h36m_cpn.npz"
        names = list(zip(*(group[name][::15].astype(str) for name in ("action", "subaction", "cam")), strict=True))
        assert names == [(action, sub, cam) for action, sub in (("Sitting", "0"), ("Walking", "1")) for cam in CAMERAS]
        # S1's "Sitting 1" is its subaction 1, by the rule of the raw files.
        assert set(root["trainset/subaction"][:60].astype(str)) == {"1"}
        frames = group["frame_orig"][:15]
        assert frames.tolist() == list(range(3, 61, 4))
        row = 60 + 15  # Walking 1, the second camera
        camera = camera_of("S9", CAMERAS[1])
        expected = camera.to_camera(poses["S9"]["Walking 1"][3, list(JOINTS)].astype(float) * 1000)
        np.testing.assert_allclose(group["gt_3d"][row].T, expected, atol=0.01)
        assert group["hardsubset"][row : row + 3].tolist() == [0, 1, 0]
        assert group["hardsubset"][:].sum() == 1
        # The maps peak at the given points: 2 px beyond the projected truth.
        side, corner = group["crop_size"][row], None
        truth, crop = group["gt_2d"][row].T, group["gt_2d_image_coords"][row].T
        corner = truth[0] - crop[JOINTS[0]] * side
        given = (points["S9"]["Walking 1"][1][3][list(MPII_TO_H36M)] - corner) / side * 64
        peaks = group["argmax_2d"][row].T[:, ::-1] * 64
        assert np.abs(peaks - given).max() <= 0.51
        assert group["heatmap"][row].min() >= 0
        assert (group["heatmap"][row].max((1, 2)) > 100 * LOST_LEVEL).all()
        assert root["cameras/S9"][CAMERAS[0]]["K"].shape == (3, 3)


def test_train_and_eval_on_it(tmp_path, convert, script, monkeypatch):
    make_pair(tmp_path)
    assert convert(tmp_path)[0] == 0
    monkeypatch.setattr("models.denoiser.HIDDEN", 64)
    path = tmp_path / "tiny.yaml"
    text = TINY.format(root=ROOT, output=tmp_path, data=tmp_path / "out")
    path.write_text(text.replace("tiny.h5", "H36M_keypoints_dataset.h5").replace("NUM_STEPS: 4", "NUM_STEPS: 20"))
    options = ("--do_not_use_wandb", "--device", "cpu")
    monkeypatch.setattr("subprocess.run", run_in_fork)  # the evaluation that training ends with
    arguments = ("--config", path, "--run_name", "a", "--set", "TEST.ACTIONS=[Walking, Sitting]", *options)
    code, _, err = script("train", *arguments)
    assert code == 0, err
    out = (tmp_path / "run_a" / "report.txt").read_text()
    assert "120 frames" in out
    assert "heatmaps drawn from keypoints, not comparable with results on a detector's heatmaps" in out
    assert "heatmaps: drawn from the keypoints of data_2d_h36m_cpn.npz" in out


def change(folder, name, member, function):
    with np.load(folder / name, allow_pickle=True) as file:
        content = {key: file[key].item() for key in file.files}
    function(content[member])
    np.savez_compressed(folder / name, **content)


@pytest.mark.parametrize(
    ("name", "member", "function", "said"),
    [
        ("data_2d_h36m_cpn.npz", "positions_2d", lambda c: c.pop("S9"), "holds no S9"),
        ("data_2d_h36m_cpn.npz", "positions_2d", lambda c: c["S9"].pop("Sitting"), "S9 has no 'Sitting'"),
        ("data_2d_h36m_cpn.npz", "positions_2d", lambda c: c["S9"]["Sitting"].pop(), "3 cameras, expected 4"),
        (
            "data_2d_h36m_cpn.npz",
            "positions_2d",
            lambda c: c["S9"]["Sitting"].__setitem__(1, c["S9"]["Sitting"][1][::2]),
            "32 frames, 61 in data_3d_h36m.npz: both have to be of 50 frames a second",
        ),
        (
            "data_2d_h36m_cpn.npz",
            "positions_2d",
            lambda c: c["S9"]["Sitting"].__setitem__(0, np.zeros((61, 16, 2))),
            r"camera 0: \(61, 16, 2\), expected finite px",
        ),
        (
            "data_3d_h36m.npz",
            "positions_3d",
            lambda c: c["S9"].update(Sitting=np.zeros((61, 17, 3))),
            r"S9, Sitting: \(61, 17, 3\) of float64, expected \(frames, 32, 3\)",
        ),
        ("data_3d_h36m.npz", "positions_3d", lambda c: c["S1"].update({"Dancing": c["S1"]["Sitting 1"]}), "Dancing"),
        (
            "data_3d_h36m.npz",
            "positions_3d",
            lambda c: c["S9"].update(Sitting=1000 * c["S9"]["Sitting"]),
            "expected metres",
        ),
        ("data_3d_h36m.npz", "positions_3d", lambda c: [c.pop(key) for key in list(c)], "holds none of S1"),
    ],
)
def test_one_line_for_what_does_not_fit(tmp_path, name, member, function, said):
    make_pair(tmp_path)
    change(tmp_path, name, member, function)
    if "Dancing" in said:
        change(tmp_path, "data_2d_h36m_cpn.npz", "positions_2d", lambda c: c["S1"].update(Dancing=c["S1"]["Sitting 1"]))
    with pytest.raises(DiffPoseError, match=said) as error:
        read_pair(tmp_path / "data_3d_h36m.npz", tmp_path / "data_2d_h36m_cpn.npz")
    assert "\n" not in str(error.value)


class Evil:
    def __reduce__(self):
        return eval, ("open('/tmp/never', 'w')",)


def test_files_that_are_foreign_or_dangerous(tmp_path):
    np.savez(tmp_path / "a.npz", positions_3d=np.array(Evil(), dtype=object))
    with pytest.raises(DiffPoseError, match=r"names builtins\.eval"):
        read_member(tmp_path / "a.npz", "positions_3d")
    np.savez(tmp_path / "b.npz", poses=np.zeros(3))
    with pytest.raises(DiffPoseError, match="holds no positions_3d"):
        read_member(tmp_path / "b.npz", "positions_3d")
    np.savez(tmp_path / "c.npz", positions_3d=np.zeros(3))
    with pytest.raises(DiffPoseError, match="an array of float64"):
        read_member(tmp_path / "c.npz", "positions_3d")
    (tmp_path / "d.npz").write_bytes(pickle.dumps({}))
    for name in ("d.npz", "none.npz"):
        with pytest.raises(DiffPoseError, match=name):
            read_member(tmp_path / name, "positions_3d")


def test_a_file_in_the_way_stays(tmp_path, convert):
    make_pair(tmp_path)
    target = tmp_path / "out" / "H36M_keypoints_dataset.h5"
    target.parent.mkdir()
    target.write_text("mine")
    code, _, err = convert(tmp_path)
    assert code == 2
    assert "is there already" in err
    assert target.read_text() == "mine"
