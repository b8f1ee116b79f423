"""Consensus without the truth: known answers, symmetry, and what happens without heatmaps."""

import numpy as np
import pytest
import torch

from utils.evaluation.consensus import (
    DEFAULT_RULE,
    RULES,
    best_scored,
    best_scored_mean,
    consensus_pose,
    find_modes,
    geometric_median,
    guessed_joints,
    heatmap_centres,
    heatmap_scores,
    joint_spread,
    mean_pose,
    medoid,
    pose_distances,
    project_to_cells,
)
from utils.evaluation.metrics import mpjpe
from utils.skeleton import MPII_TO_H36M


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def poses_like(truth, count, std, generator):
    noise = std * torch.randn(len(truth), count, *truth.shape[1:], generator=generator)
    noise[:, :, 0] = 0
    return truth[:, None] + noise


def cells_of(poses, scale=0.02, offset=(31.0, 30.0)):
    """Weak-perspective cells (..., 16, 2) of poses (..., 17, 3)."""
    points = poses[..., list(MPII_TO_H36M), :2] * torch.tensor((1.0, -1.0))
    return scale * points + torch.tensor(offset)


def maps_at(cells, std=2.0):
    grid = torch.arange(64.0)
    x, y = (torch.exp(-0.5 * ((grid - cells[..., axis, None]) / std) ** 2) for axis in (0, 1))
    return y[..., :, None] * x[..., None, :]


@pytest.fixture
def scene(generator):
    """Four true poses, 60 hypotheses each, and maps that show the truth."""
    truth = 250 * torch.randn(4, 17, 3, generator=generator)
    truth[:, 0] = 0
    return truth, poses_like(truth, 60, 80.0, generator), maps_at(cells_of(truth))


def test_centres_and_widths_of_maps(generator):
    cells = 20 + 20 * torch.rand(3, 16, 2, generator=generator)
    centre, variance = heatmap_centres(maps_at(cells))
    np.testing.assert_allclose(centre, cells, atol=0.1)
    assert bool(((variance > 2) & (variance < 4)).all()), "a Gaussian of two cells, without its tails"


def test_projection_finds_scale_and_offset(scene):
    truth, _, maps = scene
    centres, _ = heatmap_centres(maps)
    cells = project_to_cells(3.0 * truth[:, None] + 40, centres, torch.ones(4, 16))
    np.testing.assert_allclose(cells[:, 0], cells_of(truth), atol=0.1)


def test_the_truth_scores_highest(scene):
    truth, hypotheses, maps = scene
    scores = heatmap_scores(torch.cat((truth[:, None], hypotheses), dim=1), maps)
    assert bool((scores.argmax(1) == 0).all())


def test_a_lost_joint_costs_a_bounded_amount(scene):
    truth, _, maps = scene
    wrong = truth[:, None].clone()
    wrong[:, :, 13, :2] += 400
    far = wrong.clone()
    far[:, :, 13, :2] += 4000
    scores = heatmap_scores(torch.cat((truth[:, None], wrong, far), dim=1), maps)
    assert bool((scores[:, 0] > scores[:, 1]).all())
    assert bool((scores.isfinite()).all())


def test_heatmaps_make_the_consensus_better(scene):
    truth, hypotheses, maps = scene
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(4, 1, 17, 3, generator=generator)
    away = 60 * (1 + torch.randn(4, 60, 1, 1, generator=generator))  # whole poses are off, most of them one way
    biased = truth[:, None] + away * direction + (hypotheses - truth[:, None]) / 8
    assert bool((mpjpe(best_scored_mean(biased, maps), truth) < mpjpe(mean_pose(biased), truth)).all())
    assert float(mpjpe(best_scored_mean(biased, maps), truth).mean()) < float(mpjpe(biased, truth[:, None]).mean())


def test_one_hypothesis_is_its_own_consensus(scene):
    _, hypotheses, maps = scene
    for rule in RULES.values():
        np.testing.assert_allclose(rule(hypotheses[:, :1], maps), hypotheses[:, 0], atol=1e-3)


def test_without_heatmaps(scene):
    _, hypotheses, _ = scene
    assert best_scored(hypotheses, None) is None
    assert RULES["heatmap_mean"](hypotheses, None) is None
    assert RULES[DEFAULT_RULE](hypotheses, None) is not None
    np.testing.assert_allclose(consensus_pose(hypotheses), geometric_median(hypotheses))


def test_a_median_does_not_follow_outliers(scene):
    truth, hypotheses, _ = scene
    hypotheses = hypotheses.clone()
    hypotheses[:, :20] += 3000.0
    assert bool((mpjpe(geometric_median(hypotheses), truth) < 120).all())
    assert bool((mpjpe(mean_pose(hypotheses), truth) > 1000).all())
    assert bool((mpjpe(medoid(hypotheses), truth) < 200).all())


def test_the_geometric_median_is_a_minimum(scene, generator):
    _, hypotheses, _ = scene
    centre = geometric_median(hypotheses)

    def cost(point):
        return (hypotheses - point[:, None]).norm(dim=-1).mean(1)

    for _ in range(5):
        moved = centre + 5 * torch.randn(centre.shape, generator=generator)
        assert bool((cost(moved)[:, 1:] >= cost(centre)[:, 1:]).all())


def test_medoid_is_a_hypothesis(scene):
    _, hypotheses, _ = scene
    chosen = medoid(hypotheses)
    distances = pose_distances(hypotheses)
    np.testing.assert_allclose(distances, distances.transpose(1, 2), atol=1e-2)
    for b in range(4):
        assert bool((hypotheses[b] == chosen[b]).flatten(1).all(1).any())


def test_rules_work_for_the_smpl_skeleton(generator):
    hypotheses = 200 * torch.randn(2, 10, 24, 3, generator=generator)
    maps = torch.rand(2, 16, 64, 64, generator=generator)
    for rule in RULES.values():
        pose = rule(hypotheses, maps)
        assert pose.shape == (2, 24, 3)
        assert bool(pose.isfinite().all())


def test_spread_and_guessed_joints(scene, generator):
    truth, _, _ = scene
    hypotheses = poses_like(truth, 4000, 10.0, generator)
    hypotheses[:, :, 16] = truth[:, None, 16] + 100 * torch.randn(4, 4000, 3, generator=generator)
    spread = joint_spread(hypotheses)
    np.testing.assert_allclose(spread[:, 1:16], 10 * 3**0.5, rtol=0.1)
    np.testing.assert_allclose(spread[:, 16], 100 * 3**0.5, rtol=0.1)
    guessed = guessed_joints(hypotheses)
    assert bool(guessed[:, 16].all())
    assert not bool(guessed[:, :16].any())
    assert not bool(joint_spread(hypotheses[:, :1]).any())


def test_modes_find_the_groups_and_their_weights(scene, generator):
    truth, _, _ = scene
    near = poses_like(truth[:1], 140, 20.0, generator)[0]
    far = poses_like(truth[:1] + torch.tensor((0.0, 0.0, 400.0)), 60, 20.0, generator)[0]
    modes = find_modes(torch.cat((far, near)), radius_mm=100.0)
    assert modes.weights.tolist() == pytest.approx([0.7, 0.3])
    np.testing.assert_allclose(modes.poses_mm[0, 1:], truth[0, 1:], atol=12)
    assert modes.members.tolist() == [1] * 60 + [0] * 140


def test_modes_are_few_and_cover_everything(generator):
    hypotheses = 500 * torch.randn(50, 17, 3, generator=generator)
    modes = find_modes(hypotheses, most=4)
    assert len(modes.weights) == 4
    assert float(modes.weights.sum()) == pytest.approx(1)
    assert bool((modes.weights[:-1] >= modes.weights[1:]).all())
    same = find_modes(hypotheses[:1].repeat(10, 1, 1))
    assert same.weights.tolist() == [1.0]
