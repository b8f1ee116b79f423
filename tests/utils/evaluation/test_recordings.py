"""Joints scored by themselves, the energy score, and averages in which every recording counts alike."""

import numpy as np
import pytest
import torch

from tests.utils.evaluation.test_evaluation import FRAMES, HYPOTHESES, INFO, batches, blind_baseline, sampled
from utils.errors import DiffPoseError
from utils.evaluation import evaluate
from utils.evaluation.metrics import energy_score, mpjpe, pa_mpjpe
from utils.evaluation.recordings import ALL_RECORDINGS, Recordings
from utils.evaluation.report import format_report
from utils.skeleton import COMMON13, H36M17, SMPL24, joint_set_for

NUMBERS = (1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 14, 15, 16)
RECORDINGS = {row: ("walk", "crawl", "crawl")[min(i // 3, 2)] for i, row in enumerate(range(100, 100 + FRAMES))}


def common(poses):
    """The 13 joints, written out."""
    return poses[..., NUMBERS, :] - poses[..., (1, 4), :].mean(-2, keepdim=True)


def test_common_joints_are_named_and_rooted_between_the_hips():
    names = "RHip RKnee RFoot LHip LKnee LFoot Thorax LShoulder LElbow LWrist RShoulder RElbow RWrist"
    skeleton = COMMON13.skeleton
    assert skeleton.joints == tuple(names.split())
    assert {skeleton.joints[number][0] for number in skeleton.left} == {"L"}
    assert {skeleton.joints[number][0] for number in skeleton.right} == {"R"}
    for (a, b), (c, d) in skeleton.symmetric_bones:
        assert {skeleton.joints[a].lstrip("LR"), skeleton.joints[b].lstrip("LR")} == {
            skeleton.joints[c].lstrip("LR"),
            skeleton.joints[d].lstrip("LR"),
        }
    poses = torch.randn(4, 17, 3)
    chosen = COMMON13.select(poses)
    torch.testing.assert_close(chosen, common(poses))
    torch.testing.assert_close(chosen[:, list(skeleton.hips)].mean(1), torch.zeros(4, 3), atol=1e-6, rtol=0)
    assert COMMON13.select(poses.numpy()).shape == (4, 13, 3)
    assert joint_set_for("all", SMPL24) is None
    with pytest.raises(DiffPoseError, match="smpl24 are scored on all their joints"):
        joint_set_for("common13", SMPL24)


def test_scores_of_common_joints_are_those_of_poses_cut_before():
    batch = sampled() | {"heatmap": torch.rand(FRAMES, 16, 64, 64)}
    seen = []

    def rule(hypotheses, heatmaps):
        seen.append((tuple(hypotheses.shape[1:]), heatmaps is not None))
        return hypotheses[:, 2]

    options = {"skeleton": H36M17, "info": INFO, "estimators": {"third": rule}}
    result = evaluate(batches(batch, 4), joint_set=COMMON13, blind=blind_baseline(), **options)
    assert set(seen) == {((HYPOTHESES, 17, 3), True)}  # rules look at whole poses
    hypotheses, truth, z0 = (common(batch[key]) for key in ("hypotheses_mm", "gt_mm", "z0_mm"))
    for metric in (mpjpe, pa_mpjpe):
        errors = metric(hypotheses, truth[:, None])
        expected = {"best": errors.amin(1), "third": errors[:, 2], "zero_noise": metric(z0, truth)}
        for row, values in expected.items():
            assert result.rows[row][metric.__name__] == pytest.approx(float(values.mean()), rel=1e-5)
    blind = common(blind_baseline().mean_pose).expand_as(truth)
    assert result.rows["blind_mean_pose"]["mpjpe"] == pytest.approx(float(mpjpe(blind, truth).mean()), rel=1e-5)
    assert (result.skeleton, len(result.joints)) == ("common13", 13)
    assert result.calibration.joints == result.joints  # no joint of these is the root
    assert len(result.spread_mm) == 13
    lengths = np.linalg.norm(hypotheses.std(1).numpy(), axis=-1)
    assert result.sharpness_mm == pytest.approx(lengths.mean(), rel=1e-4)
    assert "joints common13 (13)" in format_report([result])


def test_energy_score_is_its_formula():
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(rng.normal(size=(3, 13, 3)) * 300).float()
    poses = truth[:, None] + torch.from_numpy(rng.normal(size=(3, 20, 13, 3)) * 60).float()
    flat, target = poses.double().flatten(2), truth.double().flatten(1)
    error = (flat - target[:, None]).norm(dim=-1).mean(1)
    pairs = (flat[:, :, None] - flat[:, None]).norm(dim=-1).mean((1, 2))
    torch.testing.assert_close(energy_score(poses, truth), ((error - pairs / 2) / 13**0.5).float())
    same = truth[:, None].expand(-1, 5, -1, -1)
    torch.testing.assert_close(energy_score(same, truth), torch.zeros(3), atol=1e-4, rtol=0)
    shifted = same + torch.tensor([30.0, 0, 40])
    torch.testing.assert_close(energy_score(shifted, truth), torch.full((3,), 50.0))
    torch.testing.assert_close(energy_score(shifted[:, :1], truth), torch.full((3,), 50.0))


def test_energy_score_is_best_for_the_right_spread():
    rng = np.random.default_rng(1)
    truth = torch.from_numpy(rng.normal(size=(2000, 2, 3)) * 100)
    noise = torch.from_numpy(rng.normal(size=(2000, 40, 2, 3)) * 100)
    narrow, right, wide = (float(energy_score(share * noise, truth).mean()) for share in (0.4, 1.0, 2.0))
    assert right < narrow - 5
    assert right < wide - 5


def test_recordings_count_alike():
    batch = sampled()
    recordings = Recordings(of_row=RECORDINGS, kinds={"upright": ["walk", "absent"], "floor": ["crawl"], "none": []})
    result = evaluate(batches(batch, 4), skeleton=H36M17, info=INFO, recordings=recordings)
    best = mpjpe(batch["hypotheses_mm"], batch["gt_mm"][:, None]).amin(1).numpy()
    energy = energy_score(batch["hypotheses_mm"], batch["gt_mm"]).numpy()
    walk = np.array(list(RECORDINGS.values())) == "walk"
    assert list(result.recordings) == ["crawl", "walk"]
    for name, mask in (("walk", walk), ("crawl", ~walk)):
        own = result.recordings[name]
        assert (own.num_recordings, own.num_frames) == (1, mask.sum())
        assert own.rows["best"]["mpjpe"] == pytest.approx(best[mask].mean(), rel=1e-5)
        assert own.energy_score == pytest.approx(energy[mask].mean(), rel=1e-5)
        part = {key: value[torch.from_numpy(mask)] for key, value in batch.items() if key != "row"}
        alone = evaluate([part | {"row": batch["row"][mask]}], skeleton=H36M17, info=INFO)
        assert own.calibration_error == pytest.approx(alone.calibration.error)
        assert own.covered_80 == pytest.approx(alone.calibration.covered_80)
    assert list(result.recording_averages) == ["upright", "floor", ALL_RECORDINGS]
    alike = result.recording_averages[ALL_RECORDINGS]
    assert (alike.num_recordings, alike.num_frames) == (2, FRAMES)
    assert alike.rows["best"]["mpjpe"] == pytest.approx((best[walk].mean() + best[~walk].mean()) / 2, rel=1e-5)
    assert abs(alike.rows["best"]["mpjpe"] - best.mean()) > 0.1  # the two averages differ here
    shares = [result.recordings[name].covered_80 for name in ("walk", "crawl")]
    assert alike.covered_80 == pytest.approx(np.mean(shares))
    assert result.recording_averages["floor"] == result.recordings["crawl"]
    assert result.energy_score == pytest.approx(energy.mean(), rel=1e-5)
    text = format_report([result])
    assert "all recordings, 2 recordings alike" in text
    assert f"energy score {result.energy_score:.1f} mm" in text
    single = {key: value[:, :1] if key == "hypotheses_mm" else value for key, value in batch.items()}
    result = evaluate([single], skeleton=H36M17, info=INFO, recordings=recordings)
    assert result.recording_averages[ALL_RECORDINGS].calibration_error is None
    assert "floor, 1 recording alike" in format_report([result])


def test_shares_within_regions_are_the_curve_at_their_levels():
    result = evaluate([sampled(hypotheses=30)], skeleton=H36M17, info=INFO)
    curve = dict(zip(result.calibration.levels, result.calibration.observed, strict=True))
    found = (result.calibration.covered_50, result.calibration.covered_80, result.calibration.covered_95)
    assert found == (curve[0.5], curve[0.8], curve[0.95])
    assert result.recordings == result.recording_averages == {}
