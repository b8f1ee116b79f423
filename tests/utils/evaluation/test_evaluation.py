"""The scoring loop: averages, groups, batches, image-blind rows, and what it refuses."""

import numpy as np
import pytest
import torch

from utils.errors import DiffPoseError
from utils.evaluation import BY_ACTION, BY_FRAME, SplitInfo, evaluate, frame_scores
from utils.evaluation.baselines import ImageBlindBaseline
from utils.evaluation.frame_scores import score_frames
from utils.evaluation.metrics import METRICS, mpjpe, pa_mpjpe, pose_scores
from utils.skeleton import H36M17, SMPL24

INFO = SplitInfo(split="full", dataset="h36m", source="synthetic: for a test")
FRAMES, HYPOTHESES = 11, 6
ACTIONS = {row: ("Walking", "Sitting", "Walking")[i % 3] for i, row in enumerate(range(100, 100 + FRAMES))}


def sampled(skeleton=H36M17, *, frames=FRAMES, hypotheses=HYPOTHESES, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(frames, skeleton.num_joints, 3)) * 300
    noise = rng.uniform(20, 150, size=(frames, 1, 1, 1))
    poses = truth[:, None] + rng.normal(size=(frames, hypotheses, skeleton.num_joints, 3)) * noise
    z0 = truth + rng.normal(size=truth.shape) * 60
    return {
        "row": np.arange(100, 100 + frames),
        "hypotheses_mm": torch.from_numpy(poses - poses[:, :, :1]).float(),
        "z0_mm": torch.from_numpy(z0 - z0[:, :1]).float(),
        "gt_mm": torch.from_numpy(truth - truth[:, :1]).float(),
    }


def batches(batch, size):
    for start in range(0, len(batch["row"]), size):
        yield {key: value[start : start + size] for key, value in batch.items()}


def blind_baseline(hypotheses=HYPOTHESES):
    poses = np.random.default_rng(5).normal(size=(40, 17, 3)).astype(np.float32) * 300
    return ImageBlindBaseline(poses, num_hypotheses=hypotheses, seed=3)


def test_rows_are_the_statistics_over_hypotheses():
    batch = sampled()
    result = evaluate([batch], skeleton=H36M17, info=INFO)
    errors = pose_scores(batch["hypotheses_mm"], batch["gt_mm"][:, None], H36M17)
    for metric in METRICS:
        ordered = errors[metric.key].sort(1, descending=metric.higher_is_better).values
        middle = errors[metric.key].median(1).values
        expected = {"best": ordered[:, 0], "median": middle, "mean": ordered.mean(1), "worst": ordered[:, -1]}
        for row, values in expected.items():
            assert result.rows[row][metric.key] == pytest.approx(float(values.mean()), rel=1e-4, abs=1e-6)
    for row, pose in (("mean_pose", batch["hypotheses_mm"].mean(1)), ("zero_noise", batch["z0_mm"])):
        for key, values in pose_scores(pose, batch["gt_mm"], H36M17).items():
            assert result.rows[row][key] == pytest.approx(float(values.mean()), rel=1e-4, abs=1e-6)
    assert (result.num_frames, result.num_hypotheses, result.averaging) == (FRAMES, HYPOTHESES, BY_FRAME)


def test_by_action_is_the_mean_of_action_means():
    batch = sampled()
    result = evaluate(
        batches(batch, 4),
        skeleton=H36M17,
        info=INFO,
        groups=ACTIONS,
        averaging=BY_ACTION,
        expected_groups=("Eating", "Walking", "Sitting", "Photo"),
    )
    best = mpjpe(batch["hypotheses_mm"], batch["gt_mm"][:, None]).amin(1).numpy()
    actions = np.array(list(ACTIONS.values()))
    means = {action: best[actions == action].mean() for action in ("Walking", "Sitting")}
    assert result.rows["best"]["mpjpe"] == pytest.approx(np.mean(list(means.values())), rel=1e-5)
    assert abs(result.rows["best"]["mpjpe"] - best.mean()) > 0.1  # the two averages differ here
    for action, mean in means.items():
        assert result.groups[action].rows["best"]["mpjpe"] == pytest.approx(mean, rel=1e-5)
        assert result.groups[action].num_frames == (actions == action).sum()
    assert list(result.groups) == ["Walking", "Sitting"]
    assert result.missing_groups == ("Eating", "Photo")
    assert result.best_of_n["mpjpe"][-1] == pytest.approx(result.rows["best"]["mpjpe"], rel=1e-6)
    assert np.trapezoid(result.cps_curve) == pytest.approx(result.rows["best"]["cps"], rel=1e-6)


def test_subsets_are_averaged_over_their_frames_whatever_the_batches():
    batch = sampled()
    hard = [101, 104, 105]
    result = evaluate(
        batches(batch, 4),
        skeleton=H36M17,
        info=INFO,
        groups=ACTIONS,
        averaging=BY_ACTION,
        subsets={"hard": hard, "easy": sorted(set(ACTIONS) - set(hard)), "none": [7]},
    )
    best = mpjpe(batch["hypotheses_mm"], batch["gt_mm"][:, None]).amin(1).numpy()
    chosen = np.isin(batch["row"], hard)
    assert list(result.subsets) == ["hard", "easy"]
    for name, mask in (("hard", chosen), ("easy", ~chosen)):
        assert result.subsets[name].num_frames == mask.sum()
        assert result.subsets[name].rows["best"]["mpjpe"] == pytest.approx(best[mask].mean(), rel=1e-5)


def test_best_of_n_keeps_the_hypotheses_order():
    batch = sampled()
    result = evaluate([batch], skeleton=H36M17, info=INFO)
    for key, metric in (("mpjpe", mpjpe), ("pa_mpjpe", pa_mpjpe)):
        errors = metric(batch["hypotheses_mm"], batch["gt_mm"][:, None])
        expected = [float(errors[:, : n + 1].amin(1).mean()) for n in range(HYPOTHESES)]
        np.testing.assert_allclose(result.best_of_n[key], expected, rtol=1e-5)


def test_batch_and_chunk_sizes_do_not_matter(monkeypatch):
    batch = sampled()
    options = {"skeleton": H36M17, "info": INFO, "groups": ACTIONS, "averaging": BY_ACTION, "blind": blind_baseline()}
    whole = evaluate([batch], **options)
    monkeypatch.setattr(frame_scores, "POSES_PER_CHUNK", 2 * HYPOTHESES)
    parts = evaluate(batches(batch, 3), **options)
    for row, scores in whole.rows.items():
        assert parts.rows[row] == pytest.approx(scores, rel=1e-5)
    assert parts.calibration.observed_per_joint == whole.calibration.observed_per_joint
    np.testing.assert_allclose(parts.spread_mm, whole.spread_mm, rtol=1e-5)
    assert parts.sharpness_mm == pytest.approx(whole.sharpness_mm, rel=1e-5)


def test_spread_and_sharpness():
    batch = sampled()
    result = evaluate([batch], skeleton=H36M17, info=INFO)
    deviation = batch["hypotheses_mm"].std(1)
    np.testing.assert_allclose(result.spread_mm, deviation.mean(0), rtol=1e-4, atol=1e-4)
    assert result.sharpness_mm == pytest.approx(float(deviation[:, 1:].norm(dim=-1).mean()), rel=1e-4)


def test_blind_rows():
    batch, blind = sampled(), blind_baseline()
    result = evaluate([batch], skeleton=H36M17, info=INFO, blind=blind)
    drawn = mpjpe(blind.draw(batch["row"]), batch["gt_mm"][:, None]).amin(1).mean()
    assert result.rows["blind_best"]["mpjpe"] == pytest.approx(float(drawn), rel=1e-5)
    constant = mpjpe(blind.mean_pose, batch["gt_mm"]).mean()
    assert result.rows["blind_mean_pose"]["mpjpe"] == pytest.approx(float(constant), rel=1e-5)


def test_blind_draws_depend_on_seed_and_row_only():
    blind = blind_baseline()
    together = blind.draw(np.array([7, 8, 9]))
    assert torch.equal(together[1], blind.draw(np.array([8]))[0])
    assert not torch.equal(together[0], together[1])
    other = ImageBlindBaseline(blind._poses, num_hypotheses=HYPOTHESES, seed=4)
    assert not torch.equal(other.draw(np.array([7])), together[:1])


def test_blind_baseline_leaves_unusable_poses_out():
    poses = np.zeros((3, 17, 3), dtype=np.float32)
    poses[1] = np.nan
    assert ImageBlindBaseline(poses, num_hypotheses=2, seed=0).num_training_poses == 2
    with pytest.raises(DiffPoseError, match="no usable pose"):
        ImageBlindBaseline(poses[1:2], num_hypotheses=2, seed=0)


def test_estimators_add_usable_rows():
    batch = sampled()
    first = {"first": lambda hypotheses, heatmaps: hypotheses[:, 0]}
    result = evaluate([batch], skeleton=H36M17, info=INFO, estimators=first)
    assert result.rows["first"]["mpjpe"] == pytest.approx(result.best_of_n["mpjpe"][0], rel=1e-5)
    assert "mean_pose" not in result.rows
    assert "best" in evaluate([batch], skeleton=H36M17, info=INFO, estimators={}).rows


def test_estimators_get_the_heatmaps_of_the_valid_rows():
    batch = sampled()
    seen = []

    def rule(hypotheses, heatmaps):
        seen.append(heatmaps)
        return None if heatmaps is None else hypotheses[:, 1]

    result = evaluate([batch], skeleton=H36M17, info=INFO, estimators={"rule": rule})
    assert "rule" not in result.rows, "a rule that can't do without heatmaps is left out"
    count = len(batch["row"])
    batch["heatmap"] = torch.arange(count)[:, None, None, None].expand(count, 16, 64, 64)
    batch["valid"] = torch.arange(count) != 1
    result = evaluate([batch], skeleton=H36M17, info=INFO, estimators={"rule": rule})
    assert seen[-1][:, 0, 0, 0].tolist() == [k for k in range(count) if k != 1]
    assert "rule" in result.rows


@pytest.mark.parametrize("skeleton", [H36M17, SMPL24], ids=lambda s: s.name)
def test_one_hypothesis_without_zero_noise_estimate(skeleton):
    batch = sampled(skeleton, hypotheses=1)
    del batch["z0_mm"]
    result = evaluate([batch], skeleton=skeleton, info=INFO)
    assert result.calibration is result.spread_mm is result.sharpness_mm is None
    assert "zero_noise" not in result.rows
    assert result.rows["best"] == pytest.approx(result.rows["worst"])
    assert result.joints == skeleton.joints


def test_invalid_rows_are_left_out_and_listed():
    batch = sampled()
    batch["hypotheses_mm"][4] = np.nan
    valid = np.arange(FRAMES) != 4
    result = evaluate(batches(batch | {"valid": valid}, 1), skeleton=H36M17, info=INFO, skipped_rows=[300, 3, 3])
    assert result.num_frames == FRAMES - 1
    assert result.skipped_rows == (3, 104, 300)
    rest = {key: value[valid] for key, value in batch.items()}
    assert result.rows["best"] == pytest.approx(evaluate([rest], skeleton=H36M17, info=INFO).rows["best"])


def test_refusals():
    with pytest.raises(DiffPoseError, match="'full' has no frame"):
        evaluate([], skeleton=H36M17, info=INFO)
    for key in ("hypotheses_mm", "gt_mm", "z0_mm"):
        batch = sampled()
        batch[key][2] = np.inf
        with pytest.raises(DiffPoseError, match=f"row 102: {key} .* not finite"):
            evaluate([batch], skeleton=H36M17, info=INFO)
    with pytest.raises(DiffPoseError, match="row 103 is not among"):
        evaluate([sampled()], skeleton=H36M17, info=INFO, groups={100: "a", 101: "a", 102: "b"})
    with pytest.raises(ValueError, match="averaging"):
        evaluate([sampled()], skeleton=H36M17, info=INFO, averaging="by camera")
    with pytest.raises(ValueError, match="6 and of 2 hypotheses"):
        evaluate([sampled(), sampled(hypotheses=2)], skeleton=H36M17, info=INFO)
    batch = sampled()
    with pytest.raises(ValueError, match="hypotheses must be"):
        score_frames(batch["hypotheses_mm"][:, :, 1:], None, batch["gt_mm"], H36M17)
    with pytest.raises(ValueError, match="zero-noise"):
        score_frames(batch["hypotheses_mm"], batch["z0_mm"][:, 1:], batch["gt_mm"], H36M17)
