"""Rows that stay on a device come in the same order and with the same content as rows that are read."""

import itertools

import numpy as np
import pytest
import torch

from data.loader import SeededBatchSampler, make_loader
from data.pose_dataset import PoseDataset
from data.resident_rows import ROW_BYTES, ResidentRows
from models.heatmap_sampler import HeatmapSampler
from tests.support.hdf5_files import make_columns, write_columnar
from utils.cell_lists import CellLists
from utils.errors import DiffPoseError
from utils.randomness import StepDraws


@pytest.fixture(params=["noisy", "clean"])
def dataset(tmp_path, request):
    """30 rows, whose maps have a floor of noise or not."""
    columns = make_columns("h36m", 30, split="trainset", seed=0)
    generator = np.random.default_rng(0)
    floor = generator.random(columns["heatmap"].shape) if request.param == "noisy" else 0
    columns["heatmap"] = (np.where(columns["heatmap"] > 0.2, columns["heatmap"], 0) + 1e-3 * floor).astype(np.float16)
    columns["heatmap"][:, :, 1, 2] = 0.5
    write_columnar(tmp_path / "rows.h5", "h36m", {"trainset": columns})
    return PoseDataset(tmp_path / "rows.h5", show_progress=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_equal_those_that_are_read(dataset, workers, monkeypatch, request):
    monkeypatch.setattr("data.resident_rows.READ_AT_ONCE", 7)
    monkeypatch.setattr("data.resident_rows.BATCHES_AT_ONCE", 2)
    monkeypatch.setattr("data.resident_rows.JOINED_AT_ONCE", 2)
    rows = ResidentRows.read(dataset, "cpu", workers=workers, show_progress=False)
    assert rows.target_m.shape == (30, 16, 3)
    assert rows.maps.nbytes <= 30 * ROW_BYTES
    assert isinstance(rows.maps, CellLists) == ("clean" in request.node.name)
    held = rows.batches(SeededBatchSampler(30, 8, seed=3, start_step=5))
    read = make_loader(dataset, batch_size=8, shuffle=True, seed=3, start_step=5)
    sampler = HeatmapSampler(num_samples=5)
    for step, (ours, theirs) in enumerate(itertools.islice(zip(held, read, strict=False), 6)):
        assert torch.equal(ours["target_m"], theirs["target_m"])
        draws = StepDraws(0, step, global_batch=8)
        a, b = (sampler(batch["heatmap"], 1, draws) for batch in (ours, theirs))
        assert torch.equal(a.cells, b.cells)
        assert torch.equal(a.likelihood, b.likelihood)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_full_memory_is_one_line_with_the_way_out(dataset, monkeypatch, error):
    def full(*parts):
        raise error

    monkeypatch.setattr("data.resident_rows.torch.cat", full)
    monkeypatch.setattr("data.resident_rows.CellLists.joined", full)
    with pytest.raises(DiffPoseError, match=r"rows\.h5: TRAIN\.ON_DEVICE: cpu has no room .* set it to false"):
        ResidentRows.read(dataset, "cpu", show_progress=False)
