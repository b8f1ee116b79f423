"""The embedded benchmark as a file: schema, order, geometry, honest heatmaps, determinism, the command."""

import itertools
import json
import sys

import h5py
import numpy as np
import pytest

from data.ambiguity import is_ambiguous
from data.pose_dataset import PoseDataset
from data.schema import ACTIONS, FIELDS
from data.synthetic.__main__ import main
from data.synthetic.build import (
    EPISODE_ROWS,
    BuildParameters,
    build,
    existing_parameters,
    plan_sequences,
    plan_tasks,
    simulate_task,
)
from data.synthetic.cameras import CAMERA_NAMES
from data.synthetic.occlusion import H36M_17_OF_32, VISIBLE
from data.synthetic.report import coverage, describe, mass_above_truth
from data.synthetic.views import true_cells
from tests.support.hdf5_files import attributes
from utils.errors import DiffPoseError, run_script
from utils.skeleton import H36M17, MPII_JOINTS, MPII_TO_H36M

ROWS = {"trainset": 75, "testset": 720}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "benchmark.h5"
    assert build(path, BuildParameters(ROWS["trainset"], ROWS["testset"]), workers=1, show_progress=False)
    return path


@pytest.fixture(scope="module")
def splits(path):
    """Both splits in memory: split -> column -> array."""
    with h5py.File(path) as file:
        return {split: {name: column[:] for name, column in file["dataset"][split].items()} for split in ROWS}


@pytest.fixture(scope="module")
def test_rows(splits):
    return splits["testset"]


@pytest.fixture(scope="module")
def mass_above(test_rows):
    return mass_above_truth(test_rows["heatmap"], true_cells(test_rows))


def test_schema_splits_and_attributes(path, splits):
    for split, columns in splits.items():
        assert len(columns["action"]) == ROWS[split]
        assert set(columns) == {*FIELDS["h36m"], "occluded", "episode"}
        for name, field in FIELDS["h36m"].items():
            assert columns[name].dtype == field.dtype
            assert columns[name].shape[1:] == field.shape
    assert set(splits["trainset"]["subject"]) == {b"S1", b"S5", b"S6", b"S7", b"S8"}
    assert set(splits["testset"]["subject"]) == {b"S9", b"S11"}
    with h5py.File(path) as file:
        attrs = attributes(file["dataset"])
    assert attrs["source"].startswith("synthetic: DiffPose embedded benchmark")
    assert attrs["detector"] == "simulated"
    assert attrs["hard_subset"] == "gaussian fit > 5 cells"


def test_the_dataset_reads_it(path):
    dataset = PoseDataset(path, split="test", stride=16, show_progress=False)
    assert set(dataset.meta["action"]) == set(ACTIONS)
    assert dataset.source.startswith("synthetic")
    assert not dataset.is_human36m
    assert np.isfinite(np.asarray(dataset[0]["gt_mm"])).all()


def test_rows_are_in_human36m_order(test_rows):
    keys = list(zip(*(test_rows[name].astype(str) for name in ("subject", "action", "subaction", "cam")), strict=True))
    sequences = [key for key, _ in itertools.groupby(keys)]
    wanted = [
        (subject, action, subaction, cam)
        for subject in ("S9", "S11")
        for action in sorted(ACTIONS)
        for subaction in ("1", "0")
        for cam in CAMERA_NAMES
    ]
    assert sequences == wanted
    for _, rows in itertools.groupby(range(len(keys)), key=keys.__getitem__):
        frames = test_rows["frame_orig"][list(rows)]
        np.testing.assert_array_equal(frames, 3 + 4 * np.arange(len(frames)))


@pytest.mark.parametrize("split", ["trainset", "testset"])
@pytest.mark.parametrize("rows", [30, 75, 240, 601, 4000, 20000])
def test_rows_are_spread_over_all_actions(split, rows):
    sequences = plan_sequences(split, rows)
    assert sum(count for *_, count in sequences) == rows
    assert sum(task.rows for task in plan_tasks(split, rows)) == rows
    counts = [count for *_, count in sequences]
    assert max(counts) - min(counts) <= 1
    if rows >= 75 or split == "testset":
        assert {(s, a) for s, a, *_ in sequences} == set(itertools.product({s for s, *_ in sequences}, ACTIONS))
        assert {cam for *_, cam, _ in sequences} == set(CAMERA_NAMES)
        assert {subaction for _, _, subaction, _, _ in sequences} == {"0", "1"}
    if split == "testset" and rows in (240, 601, 4000):
        actions = np.repeat([action for _, action, *_ in sequences], counts)
        assert set(actions[::16]) == set(ACTIONS)


def test_every_sequence_is_seen_by_four_cameras_at_once(test_rows):
    """The same joints, seen from elsewhere: distances between joints agree, coordinates do not."""
    one = test_rows["cam"] == CAMERA_NAMES[0].encode()
    two = test_rows["cam"] == CAMERA_NAMES[2].encode()
    poses = [np.swapaxes(test_rows["gt_3d"][rows], 1, 2) for rows in (one, two)]
    distances = [np.linalg.norm(pose[:, :, None] - pose[:, None], axis=-1) for pose in poses]
    np.testing.assert_allclose(distances[0], distances[1], atol=0.01)
    assert np.abs(poses[0] - poses[1]).max(axis=(1, 2)).min() > 300


def test_projection_with_the_stored_cameras(path, test_rows):
    with h5py.File(path) as file:
        for subject, cam in itertools.product(("S9", "S11"), CAMERA_NAMES):
            rows = (test_rows["subject"] == subject.encode()) & (test_rows["cam"] == cam.encode())
            camera = {name: value[:] for name, value in file["dataset/cameras"][subject][cam].items()}
            points = test_rows["gt_3d"][rows]
            pixels = camera["K"] @ points
            np.testing.assert_allclose(pixels[:, :2] / pixels[:, 2:], test_rows["gt_2d"][rows], atol=0.01)
            world = camera["R"].T @ (points - camera["t"][:, None])
            assert world[:, 2].min() > 0
            assert 850 < np.median(world[:, 2, 10]) < 1900
            assert 3.0 < np.median(points[:, 2]) / 1000 < 7.0


def test_crop_follows_the_rule(test_rows):
    """The box of all 32 joints is 1 / 1.2 of the crop and in its middle; the 17 are where gt_2d says."""
    crop, side = test_rows["gt_2d_image_coords"], test_rows["crop_size"].astype(np.float64)
    high, low = crop.max(axis=2), crop.min(axis=2)
    extent = (high - low).max(axis=1) * side
    np.testing.assert_array_equal(side, np.round(1.2 * extent.round(3)))
    assert np.abs((high + low) / 2 - 0.5).max() < 1.5 / side.min()
    corner = test_rows["gt_2d"] - crop[:, :, list(H36M_17_OF_32)] * side[:, None, None]
    np.testing.assert_allclose(corner, np.round(corner[:, :, :1]) + np.zeros_like(corner), atol=0.01)


def test_left_is_left(test_rows):
    """Of those who face the camera, the left hip is on the right of the picture, and the other way round."""
    pose = test_rows["gt_3d"]
    across, up = pose[:, :, 4] - pose[:, :, 1], pose[:, :, 8] - pose[:, :, 0]
    away = np.cross(across, up)[:, 2]  # forward is left x up; its z is how far it points away from the camera
    faces, turned = away < -0.5 * np.abs(away).max(), away > 0.5 * np.abs(away).max()
    assert min(faces.sum(), turned.sum()) > 50
    right_of = test_rows["gt_2d"][:, 0, 4] - test_rows["gt_2d"][:, 0, 1]
    assert (right_of[faces] > 0).all()
    assert (right_of[turned] < 0).all()
    nose, thorax = pose[:, 2, 9], pose[:, 2, 8]
    assert np.mean((nose - thorax)[faces] < 20) > 0.9, "the nose points to the camera"


def test_every_heatmap_has_a_peak_where_it_says(test_rows):
    maps = test_rows["heatmap"].astype(np.float32)
    assert np.isfinite(maps).all()
    assert maps.max(axis=(2, 3)).min() > 0.05
    assert maps.min() < 0
    assert maps.max() < 1.5
    best = np.stack(np.divmod(maps.reshape(*maps.shape[:2], -1).argmax(axis=-1), 64), axis=1)
    np.testing.assert_array_equal(test_rows["argmax_2d"], best / np.float32(64))
    away = np.linalg.norm(best[:, ::-1].swapaxes(1, 2) - true_cells(test_rows), axis=-1)
    seen = test_rows["occluded"] == VISIBLE
    assert np.quantile(away[seen], 0.99) < 3.5
    assert np.abs(np.mean((best[:, ::-1].swapaxes(1, 2) - true_cells(test_rows))[seen], axis=0)).max() < 0.05
    assert np.median(away[~seen]) > 2 * np.median(away[seen])


def test_true_cells_are_in_heatmap_order(test_rows):
    cells = true_cells(test_rows)
    for number, name in enumerate(MPII_JOINTS):
        joint = MPII_TO_H36M[number]
        assert H36M17.joints[joint] == name
        crop = test_rows["gt_2d"][:, 0, joint] - test_rows["gt_2d"][:, 0, 0]
        side = test_rows["crop_size"] / 64
        np.testing.assert_allclose(cells[:, number, 0] - cells[:, MPII_JOINTS.index("Hip"), 0], crop / side, atol=1e-3)


def test_hidden_joints_lie_in_the_highest_density_regions_as_often_as_they_should(mass_above, test_rows):
    hidden = test_rows["occluded"] != VISIBLE
    assert 0.1 < hidden.mean() < 0.4
    assert hidden.sum() > 2000
    np.testing.assert_allclose(coverage(mass_above[hidden]), (0.5, 0.8, 0.95), atol=0.05)
    limbs = np.isin(MPII_JOINTS, ("RWrist", "LWrist", "RElbow", "LElbow", "RFoot", "LFoot", "RKnee", "LKnee"))
    np.testing.assert_allclose(coverage(mass_above[hidden & limbs]), (0.5, 0.8, 0.95), atol=0.05)


def test_maps_of_seen_joints_are_over_dispersed(mass_above, test_rows):
    seen = test_rows["occluded"] == VISIBLE
    assert np.all(np.array(coverage(mass_above[seen])) >= (0.8, 0.95, 0.99))


def test_hidden_joints_have_broader_and_lower_maps(test_rows):
    maps, hidden = test_rows["heatmap"].astype(np.float32), test_rows["occluded"] != VISIBLE
    peak = maps.max(axis=(2, 3))
    wide = (maps > 0.5 * peak[..., None, None]).sum(axis=(2, 3))
    assert np.mean(peak[hidden]) < 0.75 * np.mean(peak[~hidden])
    assert np.mean(wide[hidden]) > 1.4 * np.mean(wide[~hidden])


def test_all_causes_of_hiding_occur(splits):
    causes = np.concatenate([split["occluded"].ravel() for split in splits.values()])
    assert np.all(np.bincount(causes, minlength=4) > 0.002 * len(causes))


def test_share_of_hard_rows(test_rows):
    assert 0.04 <= test_rows["hardsubset"].mean() <= 0.10
    np.testing.assert_array_equal(test_rows["hardsubset"], is_ambiguous(test_rows["heatmap"]))


def test_the_background_floor_is_faint(test_rows):
    maps = np.maximum(test_rows["heatmap"].astype(np.float32), 0)
    floor = np.where(maps < 0.002, maps, 0).sum(axis=(2, 3)) / maps.sum(axis=(2, 3))
    assert 0.005 < floor.mean() < 0.1


def test_a_take_is_many_episodes_that_all_cameras_see():
    """Rows of an episode follow each other; the next one is another motion, heading and place."""
    task = next(task for task in plan_tasks("trainset", 20_000) if task.action == "Directions")
    columns = simulate_task(task, 0)
    cam, episode, frame = columns["cam"], columns["episode"], columns["frame_orig"]
    first = cam == CAMERA_NAMES[0]
    assert np.bincount(episode[first] - episode[0]).max() == EPISODE_ROWS
    for name in CAMERA_NAMES[1:]:
        np.testing.assert_array_equal(episode[cam == name][:32], episode[first][:32])
        np.testing.assert_array_equal(frame[cam == name][:32], frame[first][:32])
    poses = np.swapaxes(columns["gt_3d"][first], 1, 2)
    step = np.linalg.norm(np.diff(poses, axis=0), axis=-1).mean(axis=-1)
    same = np.diff(episode[first]) == 0
    assert same.sum() >= 24
    assert step[same].max() < 150
    assert np.median(step[~same]) > 500
    across = (poses[:, 4] - poses[:, 1])[:, (0, 2)]
    heading = np.arctan2(across[:, 1], across[:, 0])[::EPISODE_ROWS]
    assert np.abs(np.exp(1j * heading).mean()) < 0.75


def test_the_default_size_has_over_1200_episodes():
    for split, rows, least in (("trainset", 20_000, 1200), ("testset", 4_000, 290)):
        numbers = [
            task.number + row // EPISODE_ROWS
            for task in plan_tasks(split, rows)
            for piece in task.pieces
            for row in range(piece.first, piece.last)
        ]
        assert len(set(numbers)) > least
        assert max(numbers) == len(set(numbers)) - 1
        takes = {(task.subject, task.action, task.subaction): task.number for task in plan_tasks(split, rows)}
        assert len(set(takes.values())) == len(takes)


def test_a_file_of_version_1_is_recognised_and_made_anew(tmp_path):
    file, parameters = tmp_path / "benchmark.h5", BuildParameters(4, 3, 1)
    build(file, parameters, workers=1, show_progress=False)
    with h5py.File(file, "r+") as opened:
        old = json.loads(opened["dataset"].attrs["parameters"])
        assert old["generator_version"] == 2
        opened["dataset"].attrs["parameters"] = np.bytes_(json.dumps({**old, "generator_version": 1}).encode())
    assert existing_parameters(file).generator_version == 1
    assert build(file, parameters, workers=1, show_progress=False)
    assert existing_parameters(file) == parameters
    assert not build(file, parameters, workers=1, show_progress=False)


def test_workers_and_repetition_change_nothing(tmp_path):
    files = []
    for name, workers in (("one", 1), ("two", 2), ("again", 1)):
        build(tmp_path / name, BuildParameters(20, 10, 5), workers=workers, show_progress=False)
        files.append(tmp_path / name)
    contents = []
    for file in files:
        with h5py.File(file) as opened:
            contents.append({f"{s}/{n}": c[:] for s in ROWS for n, c in opened["dataset"][s].items()})
    for other in contents[1:]:
        for name, column in contents[0].items():
            np.testing.assert_array_equal(column, other[name], err_msg=name)


def test_seeds_make_other_data():
    task = plan_tasks("testset", 240)[17]
    one, again, two = (simulate_task(task, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one["heatmap"], again["heatmap"])
    assert np.abs(one["gt_3d"] - two["gt_3d"]).max() > 100


def test_a_file_that_is_there_is_kept_or_replaced(tmp_path, path):
    file = tmp_path / "benchmark.h5"
    parameters = BuildParameters(4, 3, 1)
    assert build(file, parameters, workers=1, show_progress=False)
    written = file.stat().st_mtime_ns
    assert not build(file, parameters, workers=1, show_progress=False)
    assert file.stat().st_mtime_ns == written
    assert build(file, BuildParameters(5, 3, 1), workers=1, show_progress=False)
    assert build(file, BuildParameters(5, 3, 1), workers=1, force=True, show_progress=False)
    (tmp_path / "precious.h5").write_text("mine")
    with pytest.raises(DiffPoseError, match="--force"):
        build(tmp_path / "precious.h5", parameters, show_progress=False)
    assert (tmp_path / "precious.h5").read_text() == "mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["benchmark.h5", "precious.h5"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to do"),
        (["--output", "x.h5", "--test_rows", "0"], "at least 1"),
        (["--output", "x.h5", "--seed", "-1"], "--seed"),
        (["--output", "/dev/null/x.h5", "--train_rows", "1", "--test_rows", "1", "--workers", "1"], "x.h5"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["data.synthetic", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_script(main)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2
    assert error.startswith("error: ")
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_the_command_builds_once_and_reports(tmp_path, monkeypatch, capsys):
    arguments = ["--train_rows", "6", "--test_rows", "4", "--workers", "1", "--output", str(tmp_path / "b.h5")]
    monkeypatch.setattr(sys, "argv", ["data.synthetic", *arguments])
    main()
    assert "MiB" in capsys.readouterr().out
    main()
    assert "already there" in capsys.readouterr().out
    assert "6 rows" in describe(tmp_path / "b.h5")
