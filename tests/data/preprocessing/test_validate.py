"""validate.py: nothing to find in good files of every dataset, and the right finding for each planted defect."""

import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from data.hdf5.columnar import ColumnarWriter
from data.preprocessing import validate as script
from data.preprocessing.validate import validate
from data.synthetic.build import BuildParameters, build
from data.synthetic.cameras import CAMERAS
from data.synthetic.occlusion import H36M_17_OF_32
from data.synthetic.views import EPISODE_FIELD, OCCLUDED_FIELD
from tests.support.hdf5_files import make_columns, write_columnar, write_published
from tests.support.helpers import FIXTURES, ROOT
from utils.errors import run_script
from utils.skeleton import H36M_JOINTS, MPII_TO_H36M

LIMBS_SWAPPED = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
ARMS_SWAPPED = [*range(11), 14, 15, 16, 11, 12, 13]
MPII_SWAPPED = [5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10]
ROWS = 120
RULE = "gaussian fit > 5 cells"


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "benchmark.h5"
    build(path, BuildParameters(ROWS, ROWS), workers=1, show_progress=False)
    return path


@pytest.fixture(scope="module")
def good(benchmark):
    """Columns of the test split."""
    with h5py.File(benchmark) as file:
        extra = (OCCLUDED_FIELD.name, EPISODE_FIELD.name)
        return {name: column[:] for name, column in file["dataset/testset"].items() if name not in extra}


@pytest.fixture
def check(tmp_path, good):
    """Findings on the test split with some columns changed."""

    def check(*, cameras=True, **changed):
        path = tmp_path / "file.h5"
        attrs = {"source": "synthetic: test", "hard_subset": RULE}
        with ColumnarWriter(path, dataset="h36m", attrs=attrs, heatmap_compression=None) as writer:
            writer.append("testset", {**good, **changed})
            for subject in ("S9", "S11") if cameras else ():
                for camera in CAMERAS:
                    writer.write_camera(
                        subject,
                        camera.name,
                        intrinsics=camera.intrinsics,
                        rotation=camera.rotation,
                        translation=camera.translation,
                    )
        return validate(path, show_progress=False).findings

    return check


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["validate.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        run_script(script.main)
    return stop.value.code


def test_the_benchmark_is_in_order(benchmark, monkeypatch, capsys):
    assert run(monkeypatch, benchmark) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("nothing wrong found\n")
    assert re.search(r"  5 subjects: S1 \d+, S5 \d+, S6 \d+, S7 \d+, S8 \d+\n", printed)
    assert "  4 cameras: " in printed
    assert "15 actions: Directions 8" in printed
    assert re.search(r"stature from gt_3d in mm: 1\.\d+-1\.\d+ m", printed)
    assert "worst camera 0.00 px (stored cameras)" in printed
    assert re.search(r"hard rows: \d+ \(\d+\.\d %\), rule: gaussian fit > 5 cells", printed)


def test_limit_spreads_rows_evenly(benchmark):
    report = validate(benchmark, limit=40, show_progress=False)
    assert report.findings == []
    assert f"testset: {ROWS} rows, 40 of them looked at" in report.lines
    assert f"trainset: {ROWS} rows, {ROWS} of them looked at" in validate(benchmark, limit=0, show_progress=False).lines


def test_without_stored_cameras_they_are_fitted(check, good):
    assert check(cameras=False) == []
    turned = good["gt_3d"] * np.array([-1, 1, 1], np.float32)[:, None]
    assert any("project" in finding for finding in check(cameras=False, gt_3d=turned))


def only(findings, pattern):
    """All findings fit the pattern, and there is one."""
    assert findings
    assert [finding for finding in findings if not re.search(pattern, finding)] == []
    return True


def test_left_and_right_swapped_in_3d(check, good):
    findings = check(gt_3d=good["gt_3d"][:, :, LIMBS_SWAPPED])
    assert only(findings, "knees bend backwards: left and right are exchanged|left and right joints exchanged")
    assert len(findings) == 2
    assert "testset S11, S9: knees bend" in findings[0]


def test_arms_swapped(check, good):
    findings = check(gt_3d=good["gt_3d"][:, :, ARMS_SWAPPED])
    assert only(findings, "hips and shoulders disagree about which side is left|does not project onto")


def test_a_mirrored_subject(check, good):
    poses = good["gt_3d"].copy()
    poses[good["subject"] == b"S9", 0] *= -1
    findings = check(gt_3d=poses)
    assert "testset S9: knees bend backwards: left and right are exchanged, or the poses are mirrored" in findings
    assert only(findings, "^testset S9: knees bend|^testset S9/.*x negated")


def test_metres_instead_of_mm(check, good):
    assert only(check(gt_3d=good["gt_3d"] / 1000), "gt_3d seems to be in metres instead of mm")


@pytest.mark.parametrize(("factor", "unit"), [(0.1, "centimetres"), (1 / 25.4, "inches")])
def test_other_units(check, good, factor, unit):
    assert only(check(gt_3d=good["gt_3d"] * factor), f"gt_3d seems to be in {unit} instead of mm")


def test_y_up_instead_of_down(check, good):
    findings = check(gt_3d=good["gt_3d"] * np.array([1, -1, 1], np.float32)[:, None])
    assert "testset: heads are below hips: in gt_3d y points up instead of down" in findings
    assert only(findings, "y points up|y negated")


def test_evaluation_frame_instead_of_the_cameras(check, good):
    findings = check(gt_3d=good["gt_3d"] * np.array([1, -1, -1], np.float32)[:, None])
    assert only(findings, "y points up and z towards the camera|y and z negated")


def test_permuted_joints(check, good):
    order = np.random.default_rng(0).permutation(len(H36M_JOINTS))
    findings = check(gt_3d=good["gt_3d"][:, :, order])
    assert any("bones are no human's" in finding and "wrong joint order?" in finding for finding in findings)
    mpii_first = [*MPII_TO_H36M, 9]
    assert any("wrong joint order?" in finding for finding in check(gt_3d=good["gt_3d"][:, :, mpii_first]))


def smpl_poses(poses):
    """Human3.6M joints (N, 17, 3) as SMPL's 24."""
    hip, thorax, neck, head = (poses[:, joint] for joint in (0, 8, 9, 10))
    collars = [thorax + 0.3 * (poses[:, shoulder] - thorax) for shoulder in (11, 14)]
    hands = [poses[:, wrist] + 0.3 * (poses[:, wrist] - poses[:, wrist - 1]) for wrist in (13, 16)]
    feet = [poses[:, ankle] + np.array([0, 40, -120]) for ankle in (6, 3)]
    order = [
        hip,
        poses[:, 4],
        poses[:, 1],
        hip + 0.25 * (thorax - hip),
        poses[:, 5],
        poses[:, 2],
        poses[:, 7],
        poses[:, 6],
        poses[:, 3],
        hip + 0.75 * (thorax - hip),
        *feet,
        thorax,
        *collars,
        (neck + head) / 2,
        poses[:, 11],
        poses[:, 14],
        poses[:, 12],
        poses[:, 15],
        poses[:, 13],
        poses[:, 16],
        *hands,
    ]
    return np.stack(order, axis=1)


def test_3dpw_layout_with_the_same_poses(tmp_path, good):
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    poses = smpl_poses(np.swapaxes(good["gt_3d"], 1, 2)) @ turn.T / 1000
    points = np.zeros((ROWS, 3, 18))
    points[:, :2, :14] = good["gt_2d"][:, :, [9, 8, 14, 15, 16, 11, 12, 13, 1, 2, 3, 4, 5, 6]]
    points[:, 2, :14] = 1
    columns = {
        **{name: good[name] for name in ("action", "subaction", "frame_orig", "hardsubset", "argmax_2d", "heatmap")},
        "subject": np.full(ROWS, "te"),
        "cam": np.char.add(good["subject"].astype(str), good["cam"].astype(str)),
        "gt_3d": poses,
        "gt_2d": points,
    }
    columns["cam"] = np.array([name[1:3] + name[-5:] for name in columns["cam"]])

    def findings(**changed):
        path = write_columnar(tmp_path / "a.h5", "3dpw", {"testset": {**columns, **changed}}, hard_subset=RULE)
        found = validate(path, show_progress=False).findings
        # Toes and fingertips are not in this crop, so heatmaps lie a little off it.
        return [finding for finding in found if "heatmaps are shifted" not in finding]

    assert findings() == []
    mirrored = poses * np.array([1, -1, 1])
    assert findings(gt_3d=mirrored) == [
        "testset te: knees bend backwards: left and right are exchanged, or the poses are mirrored"
    ]
    assert only(findings(gt_3d=1000 * poses), "gt_3d seems to be in millimetres instead of m")
    assert only(findings(heatmap=np.roll(good["heatmap"], 1, axis=0)), "heatmaps peak|argmax_2d|hardsubset")


def test_argmax_as_x_and_y(check, good):
    assert only(check(argmax_2d=good["argmax_2d"][:, ::-1]), r"argmax_2d is stored as \(column, row\)")
    assert only(check(argmax_2d=good["argmax_2d"] + 0.1), "argmax_2d is not the heatmaps' highest cell")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda maps: np.roll(maps, (4, -3), axis=(2, 3)), r"shifted by -[23]\.\d columns and \+[34]\.\d rows"),
        (lambda maps: np.swapaxes(maps, 2, 3), r"rows and columns \(x and y\) exchanged"),
        (lambda maps: maps[:, MPII_SWAPPED], "left and right joints are exchanged"),
        (lambda maps: maps[..., ::-1], "heatmaps are mirrored"),
        (lambda maps: maps[:, :, ::-1], "heatmaps are upside down"),
        (lambda maps: np.roll(maps, 1, axis=0), "another order, crop or person"),
    ],
)
def test_heatmaps_that_do_not_fit(check, good, change, problem):
    maps = np.ascontiguousarray(change(good["heatmap"].astype(np.float32))).astype(np.float16)
    best = maps.reshape(ROWS, 16, -1).astype(np.float32).argmax(axis=2)
    argmax = np.stack(np.divmod(best, 64), axis=1) / 64
    findings = check(heatmap=maps, argmax_2d=argmax, hardsubset=good["hardsubset"])
    assert only(findings, problem + "|hardsubset differs")


def test_nan_and_empty_heatmaps(check, good):
    poses, maps = good["gt_3d"].copy(), good["heatmap"].copy()
    poses[7, 1, 3] = np.nan
    maps[30, 2, 5, 5], maps[50, 4] = np.nan, 0
    assert check(gt_3d=poses, heatmap=maps) == [
        "testset: gt_3d holds NaN or infinite values in 1 rows, first row 7",
        f"testset: a heatmap holds NaN or infinite values in 1 of {ROWS} rows looked at, first row 30",
        f"testset: a heatmap has no positive value in 1 of {ROWS} rows looked at, first row 50",
    ]


def test_order_of_frames_and_sequences(check, good):
    same = {name: np.repeat(good[name][:1], ROWS) for name in ("subject", "action", "subaction", "cam")}
    frames = 4 * np.arange(ROWS) + 3
    frames[[10, 11]] = frames[[11, 10]]
    findings = check(cameras=False, **{**same, "frame_orig": frames})
    assert any("frame_orig does not ascend at 1 rows, first row 11 (frame 47, then 43)" in f for f in findings)
    mixed = good["cam"].copy()
    mixed[[2, 90]] = mixed[[90, 2]]
    assert only(
        check(cameras=False, **{name: np.take(good[name], np.r_[0:60, 0:60], axis=0) for name in good}),
        "lie in several places",
    )


def test_changing_and_uneven_bones(check, good):
    poses = good["gt_3d"].copy()
    poses[:, :, 3] += np.random.default_rng(0).normal(0, 120, (ROWS, 3)).astype(np.float32)
    assert any("bones change their length from row to row in S11, S9" in f for f in check(gt_3d=poses))
    poses = good["gt_3d"].copy()
    poses[:, :, 13] = poses[:, :, 12] + 1.3 * (poses[:, :, 13] - poses[:, :, 12])
    assert any("bones differ between left and right" in finding for finding in check(gt_3d=poses))


def test_hard_rows_that_are_not_hard(check, good):
    assert only(check(hardsubset=1 - good["hardsubset"]), "hardsubset differs from its rule|marked hard")


def test_crop_coordinates(check, good):
    findings = check(crop_size=2 * good["crop_size"])
    assert only(findings, "gt_2d_image_coords, crop_size and gt_2d disagree in 100 %")
    crop = good["gt_2d_image_coords"][:, :, list(H36M_17_OF_32)]
    assert any("shares of the crop instead of px" in finding for finding in check(gt_2d=crop))


def test_subjects_of_both_splits(tmp_path, good):
    path = write_columnar(tmp_path / "a.h5", "h36m", {"trainset": good, "testset": good})
    findings = validate(path, limit=20, show_progress=False).findings
    assert "trainset: subjects S11, S9 belong to the other split by the protocol" in findings
    assert "subjects S11, S9 are in both splits: the test would be about known people" in findings


def test_3dhp_layout_with_the_same_poses(tmp_path, good):
    poses = good["gt_3d"].reshape(ROWS, 51)
    columns = {
        **{name: good[name] for name in ("subaction", "cam", "frame_orig", "hardsubset", "heatmap")},
        "action": good["subject"],
        "subject": good["subject"],
        "gt_3d": poses,
        "gt_3d_uni": poses,
        "gt_2d": good["gt_2d"].reshape(ROWS, 34),
        "argmax_2d": good["argmax_2d"].reshape(ROWS, 32),
    }
    order = np.lexsort((np.arange(ROWS), columns["subaction"], columns["cam"], columns["subject"]))
    columns = {name: values[order] for name, values in columns.items()}
    columns["frame_orig"] = np.arange(ROWS)
    path = write_published(tmp_path / "a.h5", "3dhp", {"testset": columns})
    report = validate(path, show_progress=False)
    assert report.lines[0].endswith(": 3dhp, published layout")
    # Toes and fingertips are not in this crop, so heatmaps lie a little off it.
    assert [finding for finding in report.findings if "heatmaps" not in finding] == []
    assert any("cameras fitted" in line for line in report.lines)


@pytest.mark.parametrize("dataset", ["h36m", "3dhp", "3dpw"])
def test_random_content_is_complained_about(tmp_path, dataset):
    path = write_published(tmp_path / "a.h5", dataset, {"testset": make_columns(dataset, 60)})
    report = validate(path, show_progress=False)
    assert report.lines[0].endswith(f": {dataset}, published layout")
    assert any("no human" in finding or "people of" in finding for finding in report.findings)
    assert all("\n" not in finding for finding in report.findings)


def test_published_fixture_as_a_command(tmp_path):
    shutil.copy(FIXTURES / "h36m_reference.h5", tmp_path / "reference.h5")
    command = [sys.executable, "-m", "data.preprocessing.validate", tmp_path / "reference.h5", "--limit", "5"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "off: testset" in result.stdout
    assert "Traceback" not in result.stderr


def test_unusable_files_end_with_two(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.h5").write_text("no")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    for name, message in (("text.h5", "not an HDF5 file"), ("other.h5", "no DiffPose file"), ("none.h5", "not found")):
        assert run(monkeypatch, tmp_path / name) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert run(monkeypatch, tmp_path / "text.h5", "--limit", -1) == 2
    assert run(monkeypatch, tmp_path / "text.h5", "--dataset", "coco") == 2
