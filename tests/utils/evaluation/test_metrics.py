"""Every metric against the published implementation's vectors and against an obvious version of itself."""

import numpy as np
import pytest
import torch

from utils.evaluation.metrics import (
    METRICS,
    best_so_far,
    cps,
    cps_curve,
    cps_from_worst,
    joint_distances,
    lower_median,
    median_pose,
    mpjpe,
    mpjpe_sc,
    pa_mpjpe,
    pck,
    pose_scores,
    reduce_hypotheses,
    spread,
    symmetry,
    truth_quantile,
    truth_ranks,
    worst_joint,
)
from utils.geometry import coordinate_major, similarity_align
from utils.skeleton import H36M17, SMPL24

SKELETONS = pytest.mark.parametrize("skeleton", [H36M17, SMPL24], ids=lambda s: s.name)


@pytest.fixture
def stored(vectors):
    """The reference file's arrays as tensors; its poses are (3, J)."""
    arrays = {key: torch.from_numpy(value) for key, value in vectors("metrics").items()}
    arrays["truth"] = arrays.pop("gt").transpose(-1, -2)
    arrays["poses"] = arrays.pop("pred").transpose(-1, -2)
    return arrays


def frames(skeleton, *, count=3, hypotheses=7, seed=0, noise=90.0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(count, skeleton.num_joints, 3)) * 300
    poses = truth[:, None] + rng.normal(size=(count, hypotheses, skeleton.num_joints, 3)) * noise
    truth, poses = truth - truth[:, :1], poses - poses[:, :, :1]
    return torch.from_numpy(poses).float(), torch.from_numpy(truth).float()


def plain_scores(pose, truth, skeleton):
    """The metrics of one pose, written as their definitions read."""
    aligned = similarity_align(pose, truth)
    scaled = pose * (truth.norm() / pose.norm())
    distance = {
        name: [float((p - t).norm()) for p, t in zip(poses, truth, strict=True)]
        for name, poses in (("plain", pose), ("aligned", aligned), ("scaled", scaled))
    }
    correct = [float(max(distance["aligned"][j] for j in skeleton.cps_joints) < th) for th in range(1, 301)]

    def length(bone):
        return float((pose[bone[0]] - pose[bone[1]]).norm())

    def share(name):
        return np.mean([distance[name][j] < 150 for j in skeleton.pck_joints])

    return {
        "mpjpe": np.mean(distance["plain"]),
        "pa_mpjpe": np.mean(distance["aligned"]),
        "mpjpe_sc": np.mean(distance["scaled"]),
        "pck": share("plain"),
        "pck_sc": share("scaled"),
        "cps": np.trapezoid(correct),
        "symmetry": np.mean([abs(length(a) - length(b)) for a, b in skeleton.symmetric_bones]),
    }


def test_published_errors(stored):
    poses, truth = stored["poses"], stored["truth"][:, None]
    for values, key in (
        (mpjpe(poses, truth), "mpjpe"),
        (pa_mpjpe(poses, truth), "pa_mpjpe"),
        (mpjpe_sc(poses, truth), "mpjpe_sc"),
        (pck(poses, truth, H36M17), "pck150"),
        (symmetry(poses, H36M17), "symmetry_none"),
        (symmetry(poses, H36M17).mean(1), "symmetry_mean"),
        (truth_quantile(poses, stored["truth"]), "ece_quantile"),
        (spread(poses).sum(0).T, "std_sum"),
    ):
        torch.testing.assert_close(values, stored[key].to(values.dtype), rtol=1e-4, atol=1e-4)
    scores = pose_scores(poses, truth, H36M17)
    for key, name in (
        ("mpjpe", "mpjpe"),
        ("pa_mpjpe", "pa_mpjpe"),
        ("mpjpe_sc", "mpjpe_sc"),
        ("pck", "pck150"),
        ("pck_sc", "pck150_sc"),
        ("symmetry", "symmetry_none"),
    ):
        torch.testing.assert_close(scores[key], stored[name], rtol=1e-4, atol=1e-4)


def test_published_cps(stored):
    poses, truth = stored["poses"], stored["truth"][:, None]
    worst = worst_joint(joint_distances(similarity_align(poses, truth), truth), H36M17)
    assert torch.equal((worst[..., None] < torch.arange(1, 301)).to(torch.uint8), stored["cps_curves"])
    best = cps(poses, truth, H36M17).amax(1)
    assert float(best.mean()) == pytest.approx(float(stored["cps_best_auc"]), rel=1e-6)
    curve = cps_curve(best.numpy())
    np.testing.assert_allclose(curve, stored["cps_curves"].float().amax(1).mean(0))
    assert np.trapezoid(curve) == pytest.approx(float(best.mean()), rel=1e-6)


@SKELETONS
def test_scores_equal_their_definitions(skeleton):
    poses, truth = frames(skeleton)
    for layout in (poses, coordinate_major(poses)):
        scores = pose_scores(layout, truth[:, None], skeleton)
        assert list(scores) == [metric.key for metric in METRICS]
        for frame, hypothesis in np.ndindex(*poses.shape[:2]):
            expected = plain_scores(poses[frame, hypothesis], truth[frame], skeleton)
            for key, value in expected.items():
                assert float(scores[key][frame, hypothesis]) == pytest.approx(value, rel=1e-4), key


def test_perfect_pose():
    _, truth = frames(H36M17)
    scores = {key: value.tolist() for key, value in pose_scores(truth, truth, H36M17).items()}
    assert scores["mpjpe"] == [0] * 3
    assert max(scores["pa_mpjpe"] + scores["mpjpe_sc"]) < 1e-3
    assert scores["pck"] == scores["pck_sc"] == [1] * 3
    assert scores["cps"] == [299] * 3


def test_cps_equals_a_loop_over_thresholds():
    worst = torch.tensor([0.0, 0.99, 1.0, 1.5, 149.999, 150.0, 298.0, 299.0, 299.5, 300.0, 1e4])
    looped = [np.trapezoid([float(d < th) for th in range(1, 301)]) for d in worst.tolist()]
    assert cps_from_worst(worst).tolist() == looped
    np.testing.assert_allclose(
        cps_curve(np.array(looped)), [(worst < th).float().mean().item() for th in range(1, 301)], rtol=1e-6
    )


def test_pck_is_strict_and_counts_only_its_joints():
    truth = torch.zeros(1, 17, 3)
    poses = truth.clone()
    poses[:, :, 0] = 150.0
    assert pck(poses, truth, H36M17).item() == 0
    poses[:, list(H36M17.pck_joints), 0] = 149.99
    assert pck(poses, truth, H36M17).item() == 1
    assert pck(poses, truth, H36M17, threshold_mm=100).item() == 0


@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_median_is_the_lower_middle_one(count):
    values = torch.randn(3, 5, count, generator=torch.Generator().manual_seed(count))
    assert torch.equal(lower_median(values), values.median(-1).values)
    assert torch.equal(lower_median(values.transpose(0, 2), 0), values.transpose(0, 2).median(0).values)
    hypotheses = torch.randn(2, count, 17, 3)
    assert torch.equal(median_pose(hypotheses), hypotheses.sort(1).values[:, (count - 1) // 2])


def test_reductions_over_hypotheses():
    scores = torch.tensor([[3.0, 1.0, 4.0, 2.0]])
    low = reduce_hypotheses(scores, higher_is_better=False)
    assert {key: value.item() for key, value in low.items()} == {"best": 1, "median": 2, "mean": 2.5, "worst": 4}
    high = reduce_hypotheses(scores, higher_is_better=True)
    assert (high["best"].item(), high["worst"].item()) == (4, 1)
    assert best_so_far(scores).tolist() == [[3, 1, 1, 1]]


def test_truth_ranks_equal_a_loop():
    poses, truth = frames(H36M17, hypotheses=8)
    closer, farther = truth_ranks(coordinate_major(poses), truth)
    centre = poses.median(1).values
    for frame, joint in np.ndindex(3, 17):
        own = (truth[frame, joint] - centre[frame, joint]).norm()
        distances = [(pose[joint] - centre[frame, joint]).norm() for pose in poses[frame]]
        assert closer[frame, joint] == sum(d < own for d in distances)
        assert farther[frame, joint] == sum(d > own for d in distances)
    assert closer[:, 0].sum() == farther[:, 0].sum() == 0


def test_spread_is_the_unbiased_standard_deviation():
    poses, _ = frames(H36M17, hypotheses=9)
    torch.testing.assert_close(spread(coordinate_major(poses)), poses.std(1), rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match="single hypothesis"):
        spread(poses[:, :1])


def test_shapes_are_checked():
    poses, truth = frames(H36M17)
    with pytest.raises(ValueError, match="24 joints"):
        pose_scores(poses, truth[:, None], SMPL24)
    with pytest.raises(ValueError, match="broadcast"):
        mpjpe(poses, truth)
    with pytest.raises(ValueError, match="B, H, J, 3"):
        spread(truth)
