"""Candidates drawn from heatmaps."""

import pytest
import torch

from models.heatmap_sampler import HeatmapSampler
from utils.errors import DiffPoseError
from utils.randomness import FrameDraws


@pytest.fixture(scope="module")
def heatmaps():
    maps = torch.rand(3, 16, 64, 64, generator=torch.Generator().manual_seed(1)) - 0.7
    maps[:, :, 10, 20] = 5.0
    return maps


def test_argmax_comes_first_with_the_raw_maximum(heatmaps):
    maps = heatmaps.clone()
    maps[0, 0] = -torch.rand(64, 64) - 1
    alone = HeatmapSampler(num_samples=1)(maps, 2, FrameDraws(0, [0, 1, 2]))
    assert alone.cells.shape == (3, 2, 16, 1)
    assert torch.equal(alone.likelihood[:, 0, :, 0], maps.flatten(2).max(-1).values)
    assert float(alone.likelihood[0, 0, 0, 0]) < 0
    more = HeatmapSampler(num_samples=6)(heatmaps, 2, FrameDraws(0, [0, 1, 2]))
    assert bool((more.cells[..., 0] == 10 * 64 + 20).all())
    torch.testing.assert_close(more.positions[0, 0, 0, 0], torch.tensor([(20 - 32) / 32, (10 - 32) / 32]))


def test_draws_follow_the_clamped_map():
    maps = torch.zeros(1, 16, 64, 64)
    maps[..., 5, 7], maps[..., 60, 63], maps[..., 0, 0], maps[..., 1, 1] = 1.0, 2.0, 1.0, -9.0
    sampler = HeatmapSampler(num_samples=500, with_argmax=False)
    candidates = sampler(maps, 8, FrameDraws(0, [0]))
    cells, counts = candidates.cells.unique(return_counts=True)
    assert cells.tolist() == [0, 5 * 64 + 7, 60 * 64 + 63]
    shares = counts / counts.sum()
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.25, 0.5]), rtol=0, atol=0.01)
    values = maps.flatten(2)[:, None].expand(-1, 8, -1, -1).gather(-1, candidates.cells)
    assert torch.equal(candidates.likelihood, values)


def test_no_cell_without_mass_is_ever_drawn_at_the_edges_of_the_unit_interval():
    class Edges:
        def uniform(self, purpose, *shape):
            out = torch.zeros(1, *shape)
            out[..., 1::2] = 1 - 2**-24
            return out

    maps = torch.zeros(1, 16, 64, 64)
    maps[..., 3:5, 10:50] = torch.rand(2, 40, generator=torch.Generator().manual_seed(0)) + 1e-3
    candidates = HeatmapSampler(num_samples=4, with_argmax=False)(maps, 1, Edges())
    assert bool((candidates.likelihood > 0).all())
    assert set(candidates.cells.unique().tolist()) == {3 * 64 + 10, 4 * 64 + 49}


def test_without_replacement_every_cell_of_a_joint_is_new_and_hypotheses_are_alike(heatmaps):
    sampler = HeatmapSampler(num_samples=21, replacement=False)
    candidates = sampler(heatmaps, 10, FrameDraws(0, [0, 1, 2]))
    drawn = candidates.cells[..., 1:].transpose(1, 2).flatten(2)  # (B, J, 200)
    assert all(len(set(cells.tolist())) == 200 for cells in drawn.flatten(0, 1))
    mean = candidates.likelihood[..., 1:].mean(dim=(0, 2, 3))
    assert float(mean.max() / mean.min()) < 1.3


def test_more_draws_than_cells_without_replacement_is_one_clear_error(heatmaps):
    sampler = HeatmapSampler(num_samples=32, replacement=False)
    with pytest.raises(DiffPoseError, match="NO_REPLACEMENT: 6200 draws"):
        sampler(heatmaps, 200, FrameDraws(0, [0, 1, 2]))


@pytest.mark.parametrize("replacement", [True, False])
def test_joint_without_positive_value_is_named(heatmaps, replacement):
    maps = heatmaps.clone()
    maps[1, 9] = -1
    with pytest.raises(DiffPoseError, match="item 1, joint Head"):
        HeatmapSampler(num_samples=4, replacement=replacement)(maps, 1, FrameDraws(0, [0, 1, 2]))


def test_ordered_candidates_fall_in_likelihood_joint_by_joint(heatmaps):
    ordered = HeatmapSampler(num_samples=12, ordered=True)(heatmaps, 1, FrameDraws(3, [0, 1, 2]))
    loose = HeatmapSampler(num_samples=12)(heatmaps, 1, FrameDraws(3, [0, 1, 2]))
    assert bool((ordered.likelihood[..., 1:].diff(dim=-1) <= 0).all())
    assert torch.equal(ordered.cells.sort(-1).values, loose.cells.sort(-1).values)


@pytest.mark.parametrize(("method", "pooled"), [("mean_std", (1, 2, 3)), ("mean_std_per_sample", (1, 2))])
def test_mean_std_pools_over_hypotheses_and_apart_from_the_argmax(heatmaps, method, pooled):
    sampler = HeatmapSampler(num_samples=7, norm_method=method)
    positions = sampler(heatmaps, 5, FrameDraws(0, [0, 1, 2])).positions
    for part in (positions[:, :, :, 1:], positions[:, :, :, :1]):
        if float(part.abs().max()) == 0:  # all argmaxes in one cell
            continue
        torch.testing.assert_close(part.mean(dim=pooled), torch.zeros_like(part.mean(dim=pooled)), rtol=0, atol=1e-5)
        spread = part.std(dim=(*pooled, 4))
        torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0, atol=0.02)


def test_image_norms():
    maps = torch.zeros(1, 16, 64, 64)
    maps[..., 0, 63] = 1.0
    for method, width in (("image", 32), ("image_half", 64), ("none", 32)):
        position = HeatmapSampler(num_samples=1, norm_method=method)(maps, 1, FrameDraws(0, [0])).positions[0, 0, 0, 0]
        assert position.tolist() == [31 / width, -32 / width]


def test_draws_belong_to_the_frame_not_to_the_batch(heatmaps):
    sampler = HeatmapSampler(num_samples=8)
    together = sampler(heatmaps, 4, FrameDraws(7, [10, 11, 12]))
    alone = sampler(heatmaps[2:], 4, FrameDraws(7, [12]))
    assert torch.equal(together.cells[2], alone.cells[0])
    other_seed = sampler(heatmaps[2:], 4, FrameDraws(8, [12]))
    assert not torch.equal(alone.cells, other_seed.cells)
