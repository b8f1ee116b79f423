import itertools
import json
import multiprocessing

import numpy as np
import pytest
import torch

from data.loader import SeededBatchSampler, epoch_order, make_loader
from data.pose_dataset import PoseDataset
from tests.support.hdf5_files import (
    make_columns,
    write_columnar,
    write_large_columnar,
    write_large_published,
    write_published,
)
from tests.support.processes import ForkedScript
from utils.errors import DiffPoseError, one_line


def batches_of(count: int, *args, **options) -> list[list[int]]:
    return list(itertools.islice(SeededBatchSampler(*args, **options), count))


def test_an_epoch_holds_each_row_at_most_once_and_epochs_differ():
    first, second = np.concatenate(batches_of(6, 25, 8, 42)).reshape(2, 24)
    assert len(set(first)) == len(set(second)) == 24
    assert set(first) | set(second) <= set(range(25))
    assert first.tolist() != second.tolist()
    assert sorted(epoch_order(25, 42, 0)) == list(range(25))


def test_the_order_follows_from_seed_and_epoch_alone():
    assert batches_of(7, 25, 8, 42) == batches_of(7, 25, 8, 42)
    assert batches_of(7, 25, 8, 42) != batches_of(7, 25, 8, 43)
    # Known numbers: a run that is resumed on another version of numpy must go on in the same order.
    assert epoch_order(10, 42, 0).tolist() == [4, 8, 1, 9, 3, 6, 0, 7, 2, 5]


@pytest.mark.parametrize("num_rows", [5, 8, 25, 64])
@pytest.mark.parametrize("shuffle", [True, False])
def test_starting_later_goes_on_where_another_left(num_rows, shuffle):
    whole = batches_of(20, num_rows, 8, 1, shuffle=shuffle)
    for start in (1, 7, 13):
        assert batches_of(20 - start, num_rows, 8, 1, start_step=start, shuffle=shuffle) == whole[start:]


def test_starting_far_in_is_immediate():
    sampler = SeededBatchSampler(390_000, 64, 42, start_step=690_000)
    assert len(next(iter(sampler))) == 64
    assert sampler.global_batch(10**12).max() < 390_000


@pytest.mark.parametrize("num_rows", [5, 100])
@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_same_global_batches(num_rows, world_size):
    whole = batches_of(15, num_rows, 8, 3)
    parts = [batches_of(15, num_rows, 8, 3, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [list(itertools.chain(*batch)) for batch in zip(*parts, strict=True)] == whole


def test_a_split_smaller_than_a_batch_goes_round():
    stream = list(itertools.chain(*batches_of(5, 3, 8, 0)))
    for epoch in range(13):
        assert sorted(stream[3 * epoch : 3 * epoch + 3]) == [0, 1, 2]


@pytest.mark.parametrize("batch_size", [0, 7])
def test_a_batch_that_cannot_be_shared_is_an_error(batch_size):
    with pytest.raises(DiffPoseError, match=f"a batch of {batch_size} rows cannot be shared by 2"):
        SeededBatchSampler(10, batch_size, 0, world_size=2)


@pytest.fixture(params=["published", "columnar"])
def small(request, tmp_path):
    writer = {"published": write_published, "columnar": write_columnar}[request.param]
    path = writer(tmp_path / "file.h5", "h36m", {"testset": make_columns("h36m", 23)})
    return PoseDataset(path, split="test", show_progress=False)


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_workers(small, workers):
    small[0]  # A file that is open already must not be shared with the workers.
    for options in ({"batch_size": 5}, {"batch_size": 4, "shuffle": True, "seed": 7, "start_step": 3}):
        alone = itertools.islice(make_loader(small, **options), 12)
        helped = itertools.islice(make_loader(small, workers=workers, **options), 12)
        assert all(same(*pair) for pair in zip(alone, helped, strict=True))


def test_spawned_workers_read_the_same(small):
    loader = make_loader(small, batch_size=10, workers=1)
    loader.multiprocessing_context = multiprocessing.get_context("spawn")
    assert all(same(*pair) for pair in zip(loader, make_loader(small, batch_size=10), strict=True))


@pytest.mark.parametrize("world_size", [1, 2, 5, 9])
def test_evaluation_sees_every_row_once_in_the_same_batches(small, world_size):
    seen = []
    for rank in range(world_size):
        loader = make_loader(small, batch_size=4, rank=rank, world_size=world_size)
        batches = [batch["row"].tolist() for batch in loader]
        assert len(batches) == len(loader)
        seen += batches
    assert seen == [list(range(start, min(start + 4, 23))) for start in range(0, 23, 4)]


def test_training_order_may_be_the_rows_own(small):
    loader = make_loader(small, batch_size=10, endless=True, seed=3)
    rows = [batch["row"].tolist() for batch in itertools.islice(loader, 3)]
    assert rows == [list(range(10)), list(range(10, 20)), list(range(10))]


def test_a_loader_leaves_the_global_random_numbers_alone(small):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    next(iter(make_loader(small, batch_size=4, shuffle=True)))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_comes_out_as_one_clean_line(tmp_path, workers):
    columns = make_columns("h36m", 9)
    columns["heatmap"][6, 3] = 0
    path = write_columnar(tmp_path / "file.h5", "h36m", {"testset": columns})
    with pytest.raises(DiffPoseError) as caught:
        list(make_loader(PoseDataset(path, split="test"), batch_size=2, workers=workers))
    assert one_line(caught.value) == str(caught.value)
    assert one_line(caught.value) == (
        f"{path}: testset row 6: the heatmap of joint LHip has no positive value: "
        "fix the row, or leave such rows out with --skip_bad"
    )


def test_workers_end_at_once_after_an_error(tmp_path):
    columns = make_columns("h36m", 9)
    columns["gt_3d"][0] = np.nan
    dataset = PoseDataset(write_columnar(tmp_path / "file.h5", "h36m", {"testset": columns}), split="test")
    for _ in range(3):
        with pytest.raises(DiffPoseError, match="row 0"):
            next(iter(make_loader(dataset, batch_size=2, workers=2)))
        assert not multiprocessing.active_children()


def test_a_read_error_in_a_worker_comes_out_as_one_clean_line(tmp_path):
    path = write_columnar(tmp_path / "file.h5", "h36m", {"testset": make_columns("h36m", 4)})
    dataset = PoseDataset(path, split="test")
    path.unlink()
    with pytest.raises(DiffPoseError) as caught:
        list(make_loader(dataset, batch_size=2, workers=1))
    assert one_line(caught.value).startswith(f"{path}: file not found")


def measure(path, rows: int) -> dict:
    code, out, err = ForkedScript("tests.support.measure_loading", path, rows, 2, logs=path.parent).wait()
    assert code == 0, err
    return json.loads(out)


def check_loading(path, num_rows: int, rows_to_read: int, *, open_s: float, open_mb: float, process_mb: float) -> None:
    if "published" in path.name:
        PoseDataset(path, show_progress=False)
    found = measure(path, rows_to_read)
    print(json.dumps(found))
    assert found["rows"] == num_rows
    assert found["open_s"] < open_s
    assert found["opened_mb"] - found["imported_mb"] < open_mb
    assert max(found["main_mb"], *found["workers_mb"]) < process_mb
    assert len(found["workers_mb"]) == 2


@pytest.mark.parametrize("write", [write_large_columnar, write_large_published], ids=["columnar", "published"])
def test_a_large_split_opens_fast_and_reads_in_little_memory(tmp_path, write):
    path = write(tmp_path / f"{write.__name__}.h5", 20_000)
    check_loading(path, 20_000, 1280, open_s=1, open_mb=20, process_mb=1000)


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_large_columnar, write_large_published], ids=["columnar", "published"])
def test_a_split_of_100000_rows(tmp_path, write):
    path = write(tmp_path / f"{write.__name__}.h5", 100_000)
    check_loading(path, 100_000, 100_000, open_s=2, open_mb=60, process_mb=1000)
