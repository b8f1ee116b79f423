"""Augmentation: maps and poses stay in step, draws are keyed, and what is left can be trained on."""

import numpy as np
import pytest
import torch

from data.augmentation import LOST_LEVEL, augment, augmented, lose_joints, mirror_poses, warp
from utils.randomness import StepDraws
from utils.skeleton import H36M_JOINTS, MPII_JOINTS, MPII_TO_H36M, SMPL_JOINTS, mirror_order

CELLS_PER_METRE = 24.0


@pytest.fixture
def batch():
    """16 poses (B, 16, 3) and the maps that an orthographic camera and a perfect detector give of them."""
    generator = np.random.default_rng(0)
    pose = torch.from_numpy(generator.uniform(-0.6, 0.6, (16, 16, 3)).astype(np.float32))
    return {"target_m": pose, "heatmap": gaussians(cells_of(pose)).half(), "gt_mm": pose, "row": torch.arange(16)}


def cells_of(pose):
    """Cells (B, 16, 2) of the maps' joints for poses without root (B, 16, 3); the pelvis lies between the hips."""
    whole = torch.cat(((pose[:, :1] + pose[:, 3:4]) / 2, pose), dim=1)[:, list(MPII_TO_H36M)]
    return 32 + CELLS_PER_METRE * whole[..., :2] * torch.tensor((1.0, -1.0))


def gaussians(cells, std=2.0):
    grid = torch.arange(64.0)
    x, y = (torch.exp(-0.5 * ((grid - cells[..., axis, None]) / std) ** 2) for axis in (0, 1))
    return 0.8 * y[..., :, None] * x[..., None, :]


def centres(maps):
    grid = torch.arange(64.0)
    total = maps.sum((2, 3))
    return torch.stack(((maps.sum(2) * grid).sum(-1) / total, (maps.sum(3) * grid).sum(-1) / total), dim=-1)


def test_mirroring_knows_the_partners():
    order = mirror_order(MPII_JOINTS)
    assert [MPII_JOINTS[i] for i in order][:3] == ["LFoot", "LKnee", "LHip"]
    for joints in (MPII_JOINTS, H36M_JOINTS, SMPL_JOINTS):
        order = mirror_order(joints)
        assert [order[i] for i in order] == list(range(len(joints)))
        assert sum(i != k for k, i in enumerate(order)) == 2 * sum(name[0] == "L" for name in joints)


@pytest.mark.parametrize("mirrored", [False, True])
def test_maps_and_poses_are_moved_alike(batch, mirrored):
    mirror = torch.full((16,), mirrored)
    scale = torch.linspace(0.7, 1.1, 16)
    shift = torch.linspace(-1, 1, 512).view(16, 16, 2)
    maps = warp(batch["heatmap"].float(), mirror=mirror, scale=scale, shift=shift, width=torch.ones(16, 16))
    pose = mirror_poses(batch["target_m"], mirror)
    expected = 32 + (cells_of(pose) - 32) * scale[:, None, None] + shift
    inside = ((expected > 8) & (expected < 56)).all(-1)
    assert inside.float().mean() > 0.7
    np.testing.assert_allclose(centres(maps)[inside], expected[inside], atol=0.05)


def test_nothing_changes_without_a_change(batch):
    maps, none = batch["heatmap"].float(), torch.zeros(16)
    same = warp(maps, mirror=none > 1, scale=none + 1, shift=torch.zeros(16, 16, 2), width=torch.ones(16, 16))
    np.testing.assert_allclose(same, maps, atol=1e-5)
    np.testing.assert_array_equal(mirror_poses(batch["target_m"], none > 1), batch["target_m"])


def test_mirroring_twice_gives_the_pose_back(batch):
    once = mirror_poses(batch["target_m"], torch.ones(16) > 0)
    assert not torch.allclose(once, batch["target_m"])
    np.testing.assert_array_equal(mirror_poses(once, torch.ones(16) > 0), batch["target_m"])


def test_wider_triangles_add_their_variance():
    maps = gaussians(torch.full((1, 16, 2), 31.3))
    grid = torch.arange(64.0)
    for width in (2.0, 3.0):
        wide = warp(
            maps,
            mirror=torch.zeros(1) > 0,
            scale=torch.ones(1),
            shift=torch.zeros(1, 16, 2),
            width=torch.full((1, 16), width),
        )
        marginal = wide.sum(2) / wide.sum((2, 3))[..., None]
        variance = (marginal * (grid - 31.3) ** 2).sum(-1)
        np.testing.assert_allclose(variance, 4 + (width**2 - 1) / 6, atol=0.05)


def test_some_joints_get_lost(batch):
    maps = batch["heatmap"].float().repeat(20, 1, 1, 1)
    lost = (lose_joints(maps, StepDraws(0, 0, global_batch=len(maps))) == LOST_LEVEL).all(-1).all(-1)
    assert 0.01 < lost.float().mean() < 0.06
    assert lost[:, 0].float().mean() > lost[:, 9].float().mean(), "feet more often than the head"


def test_every_map_can_be_drawn_from(batch):
    empty = {**batch, "heatmap": torch.zeros_like(batch["heatmap"])}
    for given in (batch, empty):
        out = augment(given, StepDraws(3, 5, global_batch=16))
        assert out["heatmap"].dtype == torch.float16
        assert bool(out["heatmap"].isfinite().all())
        assert bool((out["heatmap"].amax((2, 3)) > 0).all())
        assert bool(out["target_m"].isfinite().all())


def test_draws_are_keyed_by_seed_and_batch_number(batch):
    def maps(first, count, **options):
        stream = augmented([batch] * count, seed=1, start_batch=first, global_batch=16, **options)
        return [item["heatmap"] for item in stream]

    whole = maps(0, 3)
    assert torch.equal(whole[2], maps(2, 1)[0]), "a resumed run goes on with the same draws"
    assert not torch.equal(whole[0], whole[1])
    half = {key: value[8:] for key, value in batch.items()}
    part = next(augmented([half], seed=1, global_batch=16, part=slice(8, 16)))
    assert torch.equal(part["heatmap"], whole[0][8:]), "a rank's part is a part of the whole"
    assert "gt_mm" not in part
