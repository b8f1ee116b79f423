"""Alignment against known answers, an SVD pose by pose, and the published implementation's vectors."""

import numpy as np
import pytest
import torch

from utils.geometry import (
    best_rotation,
    coordinate_major,
    flip_yz,
    project,
    root_centre,
    scale_align,
    similarity_align,
    with_root,
    world_to_camera,
)
from utils.skeleton import H36M17, SMPL24


def random_poses(*shape, seed=0, scale=300.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(*shape, 3)) * scale).float()


def random_rotations(count, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, 3, 3)))[0]
    q[:, :, 0] *= np.linalg.det(q)[:, None]
    return torch.from_numpy(q).float()


def plain_align(pose, truth):
    """One pose (J, 3) onto one truth (J, 3), by numpy's SVD in float64."""
    pose, truth = pose.double().numpy(), truth.double().numpy()
    a, b = pose - pose.mean(0), truth - truth.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    return (s * signs).sum() / (a * a).sum() * a @ (u * signs) @ vt + truth.mean(0)


def residual(aligned, truth):
    return float(((np.asarray(aligned, dtype=np.float64) - truth.double().numpy()) ** 2).sum())


def test_published_vectors(vectors):
    stored = vectors("metrics")  # poses there are (3, J)
    truth = torch.from_numpy(stored["gt"]).transpose(-1, -2)[:, None]
    poses = torch.from_numpy(stored["pred"]).transpose(-1, -2)
    for align, key in ((similarity_align, "pa_poses"), (scale_align, "sc_poses")):
        expected = torch.from_numpy(stored[key]).transpose(-1, -2)
        torch.testing.assert_close(align(poses, truth), expected, rtol=1e-4, atol=1e-2)


def test_similarity_is_undone():
    truth = random_poses(50, 17)
    moved = 0.3 * truth @ random_rotations(50) + torch.tensor([100.0, -50.0, 400.0])
    torch.testing.assert_close(similarity_align(moved, truth), truth, rtol=1e-5, atol=0.02)


@pytest.mark.parametrize("distort", [(1, 1, 1), (-1, 1, 1), (1, 1, 0), (1, 1e-4, 1e-4), (1, 0, 0)])
def test_equals_svd_also_for_mirrored_flat_and_straight_poses(distort):
    truth = random_poses(30, 17)
    poses = (truth + random_poses(30, 17, seed=1, scale=60)) * torch.tensor(distort)
    aligned = similarity_align(poses, truth)
    for ours, pose, target in zip(aligned, poses, truth, strict=True):
        best = residual(plain_align(pose, target), target)
        assert residual(ours, target) <= best * (1 + 1e-5) + 1e-3


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
def test_least_squares_optimum_where_the_rotation_is_hardly_determined(gap):
    # A mirrored pose of equal extents: the two best rotations cost (nearly) the same.
    u = torch.linalg.qr(random_poses(20, 17).double() - random_poses(20, 17).double().mean(1, keepdim=True)).Q
    truth = u * torch.tensor([900.0, 500.0, 500.0 * (1 - gap)], dtype=torch.float64)
    poses = truth * torch.tensor([1, 1, -1.0]) @ random_rotations(20).double()
    aligned = similarity_align(poses, truth)
    for ours, pose, target in zip(aligned, poses, truth, strict=True):
        assert residual(ours, target) <= residual(plain_align(pose, target), target) * (1 + 1e-5)


def test_rotation_is_proper_and_trace_is_the_optimum():
    covariance = random_poses(3, 200).permute(0, 2, 1).contiguous()  # (3, 3, 200)
    rotation, trace = best_rotation(covariance)
    r, k = rotation.permute(2, 0, 1), covariance.permute(2, 0, 1).double()
    torch.testing.assert_close(r @ r.transpose(1, 2), torch.eye(3).double().expand(200, 3, 3), rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(200).double(), rtol=0, atol=1e-12)
    s = torch.linalg.svdvals(k)
    optimum = s[:, 0] + s[:, 1] + s[:, 2] * torch.linalg.det(k).sign()
    torch.testing.assert_close((r @ k).diagonal(dim1=1, dim2=2).sum(-1), optimum, rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(trace, optimum, rtol=1e-9, atol=1e-6)


def test_degenerate_poses_stay_finite():
    truth = random_poses(2, 17)
    zeros, point = torch.zeros(2, 17, 3), torch.full((2, 17, 3), 7.0)
    for pose in (zeros, point):
        torch.testing.assert_close(similarity_align(pose, truth), truth.mean(1, keepdim=True).expand_as(truth))
    isotropic = 100 * torch.eye(3).repeat(1, 2, 1) * torch.tensor([1.0, -1.0]).repeat_interleave(3)[:, None]
    mirrored = similarity_align(-isotropic, isotropic)  # a triple root: every rotation by 180 degrees is as good
    assert residual(mirrored[0], isotropic[0]) == pytest.approx(
        residual(plain_align(-isotropic[0], isotropic[0]), isotropic[0]), rel=1e-2
    )
    assert similarity_align(truth, zeros).abs().max() < 1e-3
    assert torch.equal(scale_align(zeros, truth), zeros)


def test_broadcast_truth_layout_and_precision():
    truth, poses = random_poses(3, 17), random_poses(3, 5, 17, seed=1)
    expected = similarity_align(poses, truth[:, None].expand_as(poses).contiguous())
    relaid = coordinate_major(poses)
    assert torch.equal(relaid, poses)
    assert relaid.stride(1) == 1
    for layout in (poses, relaid):
        torch.testing.assert_close(similarity_align(layout, truth[:, None]), expected, rtol=1e-5, atol=1e-3)
    single = similarity_align(poses[0, 0], truth)  # the pose may be the smaller of the two
    torch.testing.assert_close(single[0], expected[0, 0], rtol=1e-5, atol=1e-3)
    assert similarity_align(poses.double(), truth[:, None].double()).dtype == torch.float64


def test_root_is_the_midpoint_of_the_hips():
    poses = random_poses(4, 17)
    poses[:, 0] = (poses[:, 1] + poses[:, 4]) / 2
    full = with_root(poses[:, 1:], H36M17)
    torch.testing.assert_close(full, root_centre(poses), rtol=1e-5, atol=1e-3)
    assert torch.equal(full[:, 0], torch.zeros(4, 3))
    body = random_poses(4, 24)
    assert torch.equal(with_root(body, SMPL24), body - body[:, :1])
    with pytest.raises(ValueError, match="predicts 16 joints"):
        with_root(poses, H36M17)


def test_camera():
    rotation = random_rotations(1)[0]
    centre, points = torch.tensor([1000.0, -200.0, 50.0]), random_poses(6, 17)
    camera = world_to_camera(points, rotation=rotation, translation=centre)
    torch.testing.assert_close(camera @ rotation + centre, points, rtol=1e-5, atol=1e-2)
    assert world_to_camera(centre, rotation=rotation, translation=centre).abs().max() < 1e-3
    pixels = project(
        torch.tensor([[0.0, 0.0, 10.0], [1.0, 2.0, 4.0]]),
        focal=torch.tensor([1145.0, 1143.0]),
        centre=torch.tensor([512.0, 515.0]),
    )
    torch.testing.assert_close(pixels, torch.tensor([[512.0, 515.0], [512 + 1145 / 4, 515 + 1143 / 2]]))


def test_evaluation_frame():
    poses = random_poses(2, 17)
    flipped = flip_yz(poses)
    assert torch.equal(flipped[..., 0], poses[..., 0])
    assert torch.equal(flipped[..., 1:], -poses[..., 1:])
    assert torch.equal(flip_yz(flipped), poses)


@pytest.mark.parametrize(
    ("poses", "truth"), [((5, 17, 2), (5, 17, 2)), ((5, 17, 3), (5, 16, 3)), ((5, 17, 3), (4, 17, 3))]
)
def test_shapes_are_checked(poses, truth):
    with pytest.raises(ValueError, match=r"\(\.\.\., J, 3\)|broadcast"):
        similarity_align(torch.zeros(poses), torch.zeros(truth))
