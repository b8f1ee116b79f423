import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from data.hdf5 import published_table
from data.hdf5.published_table import index_paths
from data.pose_dataset import PoseDataset
from data.schema import SUBJECTS
from tests.support.hdf5_files import make_columns, write_columnar, write_published

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
ROWS = 12


@pytest.fixture
def reference(tmp_path):
    """The published example file, in a folder where its index may be written."""
    path = tmp_path / "h36m_reference.h5"
    path.write_bytes((FIXTURES / "h36m_reference.h5").read_bytes())
    return path


def write(path: Path, layout: str, dataset: str, splits: dict, **options) -> Path:
    writer = {"published": write_published, "columnar": write_columnar}[layout]
    return writer(path, dataset, splits, **options)


def as_batch(dataset: PoseDataset) -> dict[str, torch.Tensor]:
    return torch.utils.data.default_collate(dataset.__getitems__(range(len(dataset))))


@pytest.mark.parametrize(
    ("name", "options"), [("train", {}), ("test", {}), ("hard", {"hard_only": True, "stride": 16})]
)
@pytest.mark.parametrize("key", ["heatmaps", "p2d_hrnet", "p2d_gt"])
def test_items_are_the_published_ones(vectors, reference, name, options, key):
    expected = vectors("dataset_items")
    split = "train" if name == "train" else "test"
    dataset = PoseDataset(reference, split=split, condition_key=key, **options)
    batch = as_batch(dataset)
    count = len(dataset)
    np.testing.assert_array_equal(batch["target_m"].swapaxes(1, 2).reshape(count, 48), expected[f"{name}_poses_3d"])
    np.testing.assert_array_equal(batch["gt_mm"].swapaxes(1, 2), expected[f"{name}_p3d_gt"])
    if key == "heatmaps":
        assert batch["heatmap"].dtype == torch.float16
        means = batch["heatmap"].double().mean(dim=(1, 2, 3))
        np.testing.assert_allclose(means, expected[f"{name}_heatmap"], rtol=1e-6)
    else:
        np.testing.assert_array_equal(batch["pose_2d"], expected[f"{name}_{key}"])
    info = expected[f"{name}_frame_info"]
    for column, field in enumerate(("action", "subject", "subaction", "cam")):
        assert [f"b'{text}'" for text in dataset.meta[field]] == info[:, column].tolist()
    assert dataset.meta["frame_orig"].astype(str).tolist() == info[:, 4].tolist()
    assert batch["row"].tolist() == dataset.rows.tolist()
    assert batch["valid"].all()
    assert dataset.is_human36m


@pytest.mark.parametrize("layout", ["published", "columnar"])
@pytest.mark.parametrize(("name", "split"), [("h36m", "train"), ("h36m", "test"), ("3DHP", "test"), ("3dpw", "train")])
def test_both_layouts_of_every_dataset(tmp_path, layout, name, split):
    columns = make_columns(name, ROWS, split=f"{split}set")
    path = write(tmp_path / "file.h5", layout, name, {f"{split}set": columns})
    dataset = PoseDataset(path, dataset=name, split=split)
    batch = as_batch(dataset)
    np.testing.assert_array_equal(batch["heatmap"], columns["heatmap"])
    if name == "3dpw":
        poses = columns["gt_3d"].astype(float) * 1000
        target = columns["gt_3d"].astype(float)
    else:
        truth = columns["gt_3d_uni" if name == "3DHP" else "gt_3d"].astype(float)
        poses = truth.reshape(ROWS, 3, 17).swapaxes(1, 2)
        target = poses[:, 1:] / 1000
    flip = np.array([1, -1, -1])
    np.testing.assert_allclose(
        batch["gt_mm"], (poses - poses[:, :1]) * flip, rtol=1e-4, atol=1e-3 * abs(poses).max() / 900
    )
    np.testing.assert_allclose(batch["target_m"], (target - target.mean(1, keepdims=True)) * flip, rtol=1e-4, atol=1e-4)
    assert set(dataset.meta["subject"]) == set(SUBJECTS[name.lower()][f"{split}set"])
    assert dataset.meta["hardsubset"].tolist() == (np.arange(ROWS) % 3 == 0).tolist()
    np.testing.assert_array_equal(dataset.poses_mm(), batch["gt_mm"])
    assert dataset.poses_mm(limit=4).shape == (4, *batch["gt_mm"].shape[1:])


@pytest.mark.parametrize(("name", "width"), [("h36m", 32), ("3DHP", 32), ("3dpw", 36)])
def test_2d_poses_are_centred_and_of_unit_spread(tmp_path, name, width):
    columns = make_columns(name, 4)
    path = write_published(tmp_path / "file.h5", name, {"testset": columns})
    annotated = as_batch(PoseDataset(path, dataset=name, split="test", condition_key="p2d_gt"))["pose_2d"]
    detected = as_batch(PoseDataset(path, dataset=name, split="test", condition_key="p2d_hrnet"))["pose_2d"]
    assert annotated.shape == (4, width)
    assert detected.shape == (4, 32)
    for points in (annotated.reshape(4, -1, 2), detected.reshape(4, 2, 16).swapaxes(1, 2)):
        torch.testing.assert_close(points.mean(1), torch.zeros(4, 2), atol=1e-5, rtol=0)
        torch.testing.assert_close(points.flatten(1).std(1, correction=0), torch.ones(4), atol=1e-5, rtol=0)


def test_hardsubset_may_be_a_scalar(tmp_path):
    columns = make_columns("h36m", 6)
    path = write_published(tmp_path / "file.h5", "h36m", {"testset": columns}, hard_shape=())
    assert PoseDataset(path, split="test", hard_only=True).rows.tolist() == [0, 3]


@pytest.mark.parametrize("layout", ["published", "columnar"])
def test_stride_counts_table_rows_before_the_filters(tmp_path, layout):
    columns = make_columns("h36m", 40)
    path = write(tmp_path / "file.h5", layout, "h36m", {"testset": columns})
    every_fifth = np.arange(0, 40, 5)
    sitting = [row for row in every_fifth if columns["action"][row] == b"Sitting"]
    assert PoseDataset(path, split="test", stride=5).rows.tolist() == every_fifth.tolist()
    dataset = PoseDataset(path, split="test", stride=5, actions=["Sitting"])
    assert dataset.rows.tolist() == sitting
    assert set(dataset.meta["action"]) == {"Sitting"}
    of_s9 = [row for row in sitting if columns["subject"][row] == b"S9"]
    assert PoseDataset(path, split="test", stride=5, actions=["Sitting"], subjects=["S9"]).rows.tolist() == of_s9
    hard = PoseDataset(path, split="test", stride=16, hard_only=True, actions=["Sitting"])
    assert hard.rows.tolist() == [row for row in range(0, 40, 3) if columns["action"][row] == b"Sitting"]


def test_items_keep_the_order_asked_for(tmp_path):
    columns = make_columns("h36m", ROWS)
    dataset = PoseDataset(write_columnar(tmp_path / "file.h5", "h36m", {"testset": columns}), split="test", stride=2)
    wanted = [4, 0, 5, 0, 3]
    items = dataset.__getitems__(wanted)
    assert [int(item["row"]) for item in items] == [8, 0, 10, 0, 6]
    for place, item in zip(wanted, items, strict=True):
        np.testing.assert_array_equal(item["heatmap"], columns["heatmap"][2 * place])
        for name, value in dataset[place].items():
            torch.testing.assert_close(item[name], value, rtol=0, atol=0)
    with pytest.raises(IndexError):
        dataset[6]


def test_a_published_file_is_scanned_once(reference, monkeypatch, capsys):
    first = PoseDataset(reference, split="test")
    assert "indexing h36m_reference.h5" in capsys.readouterr().err
    assert index_paths(reference, "testset")[0].exists()
    monkeypatch.setattr(published_table, "_copy_columns", lambda *_: pytest.fail("scanned again"))
    again = PoseDataset(reference, split="test")
    np.testing.assert_array_equal(first.poses_mm(), again.poses_mm())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", ["touched", "garbage", "truncated", "flipped"])
def test_an_index_that_no_longer_fits_is_rebuilt(reference, damage):
    expected = PoseDataset(reference, split="test", show_progress=False).poses_mm()
    index = index_paths(reference, "testset")[0]
    good = index.read_bytes()
    if damage == "touched":
        os.utime(reference, ns=(1, 1))
    elif damage == "garbage":
        index.write_bytes(b"no index at all")
    elif damage == "truncated":
        index.write_bytes(good[: len(good) // 2])
    else:
        index.write_bytes(good.replace(b"SittingDown", b"SittingUp!!"))
    before = index.read_bytes()
    dataset = PoseDataset(reference, split="test", show_progress=False)
    assert index.read_bytes() != before
    assert dataset.meta["action"][1] == "SittingDown"
    np.testing.assert_array_equal(dataset.poses_mm(), expected)


def test_the_index_goes_to_the_cache_when_the_folder_is_read_only(reference, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    beside, cached = index_paths(reference, "testset")
    assert cached.is_relative_to(tmp_path / "cache")
    real = published_table.new_hdf5

    def refusing(path, **options):
        if path.parent == beside.parent:
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(published_table, "new_hdf5", refusing)
    assert len(PoseDataset(reference, split="test", show_progress=False)) == 6
    assert cached.exists()
    assert not beside.exists()
    monkeypatch.setattr(published_table, "_copy_columns", lambda *_: pytest.fail("scanned again"))
    assert len(PoseDataset(reference, split="test")) == 6


def test_a_damaged_index_that_cannot_be_replaced_is_passed_over(reference, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    PoseDataset(reference, split="test", show_progress=False)
    beside, cached = index_paths(reference, "testset")
    cached.parent.mkdir(parents=True)
    cached.write_bytes(beside.read_bytes())
    beside.write_bytes(beside.read_bytes().replace(b"SittingDown", b"SittingUp!!"))
    monkeypatch.setattr(published_table, "_copy_columns", lambda *_: pytest.fail("scanned again"))
    assert PoseDataset(reference, split="test").meta["action"][1] == "SittingDown"


def test_an_interrupted_scan_leaves_nothing(reference, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(published_table, "_copy_columns", interrupt)
    with pytest.raises(KeyboardInterrupt):
        PoseDataset(reference, split="test")
    assert list(reference.parent.iterdir()) == [reference]


def test_a_pickled_dataset_holds_no_open_file_and_few_bytes(tmp_path):
    columns = make_columns("h36m", ROWS)
    dataset = PoseDataset(write_columnar(tmp_path / "file.h5", "h36m", {"testset": columns}), split="test")
    before = dataset[3]
    data = pickle.dumps(dataset)
    assert len(data) < 4000
    after = pickle.loads(data)[3]
    torch.testing.assert_close(after["heatmap"], before["heatmap"], rtol=0, atol=0)


def test_source_tells_human36m_from_the_rest(tmp_path):
    columns = make_columns("h36m", 2)
    for source, expected in (("Human3.6M, HRNet", True), ("synthetic: embedded benchmark", False), ("mocap", False)):
        path = write_columnar(tmp_path / "file.h5", "h36m", {"testset": columns}, source=source, detector="d")
        dataset = PoseDataset(path, split="test")
        assert (dataset.source, dataset.detector, dataset.is_human36m) == (source, "d", expected)
