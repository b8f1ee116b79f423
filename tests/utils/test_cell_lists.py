"""Lists of cells give the candidates of the maps that they were made of, to the last bit."""

import pytest
import torch

from models.heatmap_sampler import HeatmapSampler
from utils.cell_lists import CellLists
from utils.randomness import StepDraws


def heatmaps(items, seed=0):
    """Noisy, sparse and extreme maps (R, 16, 64, 64) float16."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(items, 16, 64, 64, generator=generator) * 0.01
    maps[:, :4] = maps[:, :4].clamp(min=0) ** 3 + 1e-4
    maps[:, 4:6] = 0
    maps[:, 4, 63, 63] = 0.5  # one cell, the last
    maps[:, 5, 0, 0] = 6e-8  # one cell, the first, the smallest float16
    maps[:, 6] = 1  # all cells, all maxima
    maps[:, 7, 10, 20:22] = 0.9  # two equal maxima
    return maps.half()


@pytest.mark.parametrize("options", [{}, {"with_argmax": False}, {"ordered": True}, {"num_samples": 1}])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_candidates_equal_those_drawn_from_the_maps(options, dtype):
    maps = heatmaps(5).to(dtype)
    sampler = HeatmapSampler(**({"num_samples": 9, "norm_method": "mean_std"} | options))
    lists = CellLists.joined([CellLists.from_maps(maps[:2]), CellLists.from_maps(maps[2:])])
    chosen = torch.tensor([4, 1, 1, 0])
    for hypotheses in (1, 3):
        draws = StepDraws(3, 7, global_batch=4)
        ours, theirs = (sampler(inputs, hypotheses, draws) for inputs in (lists.batch(chosen), maps[chosen]))
        for name in ("cells", "likelihood", "center", "scale"):
            a, b = getattr(ours, name), getattr(theirs, name)
            assert a.dtype == b.dtype
            assert torch.equal(a, b), name


def test_extreme_uniform_numbers_stay_on_positive_cells():
    maps = heatmaps(1)
    lists = CellLists.from_maps(maps)
    uniform = torch.tensor([0.0, 1 - 2**-24, 0.5]).expand(1, 16, 3)
    cells, values = lists.draw(uniform)
    assert bool((values > 0).all())
    assert torch.equal(values, maps.flatten(2).float().gather(-1, cells))
    assert cells[0, 4].tolist() == [4095] * 3
    assert cells[0, 5].tolist() == [0] * 3
    assert cells[0, 6].tolist() == [0, 4095, 2048]


def test_batches_copy_nothing_and_memory_is_told():
    lists = CellLists.from_maps(heatmaps(3))
    batch = lists.batch(torch.tensor([2, 0]))
    assert batch.cells is lists.cells
    assert batch.shape == (2, 16, 64, 64)
    assert lists.shape == (3, 16, 64, 64)
    assert lists.nbytes == 8 * len(lists.cells) + 8 * (2 * 3 * 16 + 1)
    assert batch.to("cpu").items.tolist() == [2, 0]


def test_map_without_a_positive_value_is_refused():
    maps = heatmaps(2)
    maps[1, 3] = -1
    with pytest.raises(ValueError, match="no positive value"):
        CellLists.from_maps(maps)
