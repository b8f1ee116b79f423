"""Predictions survive the file; what other people's files can have wrong is said in one line."""

import h5py
import numpy as np
import pytest
import torch

from utils.errors import DiffPoseError
from utils.evaluation import SplitInfo, evaluate
from utils.evaluation.predictions import PredictionFile, PredictionWriter
from utils.skeleton import H36M17, SMPL24

FRAMES, HYPOTHESES = 9, 4


def sampled(frames=FRAMES):
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(frames, 17, 3)).astype(np.float32) * 300
    poses = truth[:, None] + rng.normal(size=(frames, HYPOTHESES, 17, 3)).astype(np.float32) * 80
    poses, truth = poses - poses[:, :, :1], truth - truth[:, :1]
    return {"row": np.arange(frames) * 16, "hypotheses_mm": poses, "z0_mm": poses[:, 0], "gt_mm": truth}


def batches(batch, size):
    for start in range(0, len(batch["row"]), size):
        yield {key: value[start : start + size] for key, value in batch.items()}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run" / "predictions.h5"
    with PredictionWriter(path, skeleton=H36M17, attrs={"split": "full", "seed": 42, "checkpoint": None}) as writer:
        for batch in batches(sampled(), 4):
            writer.append({key: torch.from_numpy(value) for key, value in batch.items()})
    return path


def foreign(path, **fields):
    """A minimal file as another project would write it."""
    batch = sampled()
    columns = {"hypotheses": batch["hypotheses_mm"], "row": batch["row"]} | fields
    with h5py.File(path, "w") as file:
        group = file.create_group("predictions")
        for name, value in columns.items():
            if value is not None:
                group[name] = value
    return path


def test_round_trip(path):
    file, batch = PredictionFile(path, skeleton=H36M17, num_rows=1000), sampled()
    assert file.num_hypotheses == HYPOTHESES
    assert file.attrs["seed"] == 42
    assert file.attrs["units"] == "mm"
    assert file.attrs["joints"].split(",") == list(H36M17.joints)
    assert "checkpoint" not in file.attrs
    for key in batch:
        np.testing.assert_array_equal(np.concatenate([part[key] for part in file.batches(batch_size=2)]), batch[key])
    assert [p.name for p in path.parent.iterdir()] == ["predictions.h5"]


def test_scores_are_those_of_the_samples(path):
    info = SplitInfo(split="full", dataset="h36m", source="synthetic")
    direct = evaluate([sampled()], skeleton=H36M17, info=info)
    stored = evaluate(PredictionFile(path, skeleton=H36M17).batches(batch_size=5), skeleton=H36M17, info=info)
    for row, scores in direct.rows.items():
        assert stored.rows[row] == pytest.approx(scores, rel=1e-6)


def test_truth_comes_from_the_data_file_by_row_number(tmp_path):
    batch = sampled()
    shuffled = np.random.default_rng(0).permutation(FRAMES)
    centred_elsewhere = batch["hypotheses_mm"][shuffled] + 500
    file = PredictionFile(
        foreign(tmp_path / "p.h5", hypotheses=centred_elsewhere, row=batch["row"][shuffled]), skeleton=H36M17
    )
    rows = np.array([128, 16, 32, 9999])
    truth = np.stack([*batch["gt_mm"][[8, 1, 2]], np.zeros((17, 3), np.float32)])
    parts = list(file.batches(batch_size=2, rows=rows, gt_mm=truth))
    found = np.concatenate([part["row"] for part in parts])
    assert sorted(found) == [16, 32, 128]
    np.testing.assert_array_equal(np.concatenate([part["gt_mm"] for part in parts]), batch["gt_mm"][found // 16])
    np.testing.assert_allclose(
        np.concatenate([part["hypotheses_mm"] for part in parts]), batch["hypotheses_mm"][found // 16], atol=1e-3
    )
    assert all(part["z0_mm"] is None for part in parts)
    assert file.missing(rows).tolist() == [9999]


def test_nothing_half_written(tmp_path):
    path = tmp_path / "predictions.h5"
    batch = sampled()

    def write_and_stop():
        with PredictionWriter(path, skeleton=H36M17, attrs={}) as writer:
            writer.append(batch)
            writer.append(batch | {"hypotheses_mm": batch["hypotheses_mm"][:, :2]})

    with pytest.raises(ValueError, match="does not fit"):
        write_and_stop()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DiffPoseError, match="cannot be written"),
        PredictionWriter(tmp_path / "file" / "p.h5", skeleton=H36M17, attrs={}),
    ):
        pass


def with_nan():
    poses = sampled()["hypotheses_mm"]
    poses[3, 1, 5, 2] = np.nan
    return poses


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"row": None}, "'/predictions/row' is missing"),
        ({"hypotheses": None}, "'/predictions/hypotheses' is missing"),
        ({"hypotheses": np.zeros((FRAMES, 4, 16, 3))}, "have 16 joints"),
        ({"hypotheses": np.zeros((FRAMES, 4, 51))}, "must be"),
        ({"hypotheses": np.zeros((FRAMES + 1, 4, 17, 3))}, "must be"),
        ({"hypotheses": np.zeros((FRAMES, 0, 17, 3))}, "must be"),
        ({"row": np.arange(FRAMES) * 1.0}, "whole numbers"),
        ({"row": np.arange(FRAMES) - 1}, "row -1 is out of range"),
        ({"row": np.arange(FRAMES) + 995}, "row 1003 is out of range"),
        ({"row": np.array([0, 1, 2, 3, 4, 5, 6, 7, 7])}, "row 7 occurs 2 times"),
        ({"z0": np.zeros((FRAMES, 16, 3))}, "z0 must be"),
        ({"row": np.zeros(0, int), "hypotheses": np.zeros((0, 4, 17, 3))}, "no frame"),
        ({"hypotheses": with_nan()}, "row 48 holds a number that is not finite"),
        ({}, "has no 'gt_mm'"),
    ],
)
def test_one_line_about_a_bad_file(tmp_path, fields, message):
    path = foreign(tmp_path / "p.h5", **fields)
    truth = sampled() if fields else {"row": None, "gt_mm": None}
    with pytest.raises(DiffPoseError, match=message) as error:
        list(PredictionFile(path, skeleton=H36M17, num_rows=1000).batches(rows=truth["row"], gt_mm=truth["gt_mm"]))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_no_predictions(tmp_path, path):
    with pytest.raises(DiffPoseError, match="no such file"):
        PredictionFile(tmp_path / "none.h5", skeleton=H36M17)
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(DiffPoseError, match="not a readable HDF5 file"):
        PredictionFile(tmp_path / "text.h5", skeleton=H36M17)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(DiffPoseError, match="no group"):
        PredictionFile(tmp_path / "other.h5", skeleton=H36M17)
    with pytest.raises(DiffPoseError, match="has 24"):
        PredictionFile(path, skeleton=SMPL24)
    with h5py.File(path, "a") as file:
        file["predictions"].attrs["units"] = "m"
    with pytest.raises(DiffPoseError, match="units are 'm'"):
        PredictionFile(path, skeleton=H36M17)
    with h5py.File(path, "a") as file:
        file["predictions"].attrs["units"] = "mm"
    with pytest.raises(DiffPoseError, match="none of its rows"):
        list(PredictionFile(path, skeleton=H36M17).batches(rows=np.array([1]), gt_mm=np.zeros((1, 17, 3))))
