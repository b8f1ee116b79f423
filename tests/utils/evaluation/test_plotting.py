"""Pictures come out as readable PNG files without a display."""

import numpy as np
import pytest

from utils.errors import DiffPoseError
from utils.evaluation import SplitInfo, evaluate
from utils.evaluation.plotting import PictureSample, plot_best_of_n, plot_calibration, plot_hypotheses, plot_spread
from utils.skeleton import H36M17, SMPL24


def image(path):
    from matplotlib.image import imread

    return imread(path)[..., :3]


def share_of(picture, colour, tolerance=0.02):
    return float((np.abs(picture - np.array(colour)) < tolerance).all(-1).mean())


def result_of(hypotheses=6):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(12, 17, 3)).astype(np.float32) * 300
    poses = truth[:, None] + rng.normal(size=(12, hypotheses, 17, 3)).astype(np.float32) * 70
    batch = {"row": np.arange(12), "hypotheses_mm": poses - poses[:, :, :1], "gt_mm": truth - truth[:, :1]}
    return evaluate([batch], skeleton=H36M17, info=SplitInfo(split="full", dataset="h36m", source="synthetic"))


@pytest.mark.parametrize("skeleton", [H36M17, SMPL24], ids=lambda s: s.name)
def test_hypotheses_picture(tmp_path, skeleton):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(skeleton.num_joints, 3)) * 300
    poses = truth + rng.normal(size=(5, skeleton.num_joints, 3)) * 30
    heatmap = rng.uniform(size=(16, 64, 64))
    complete = PictureSample("row 3", poses, truth, heatmap)
    with_truth = image(plot_hypotheses(tmp_path / "a.png", [complete, complete], skeleton))
    without = image(plot_hypotheses(tmp_path / "b.png", [PictureSample("row 3", poses, None)], skeleton))
    assert with_truth.shape[0] > without.shape[0]
    assert with_truth.shape[1] > without.shape[1]
    only_truth = image(plot_hypotheses(tmp_path / "c.png", [PictureSample("row 3", poses[:1], truth)], skeleton))
    assert share_of(only_truth, (0, 0, 0)) > share_of(without, (0, 0, 0)) + 0.005  # the truth is black
    with pytest.raises(ValueError, match="no sample"):
        plot_hypotheses(tmp_path / "d.png", [], skeleton)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]


def test_curves(tmp_path):
    result = result_of()
    for plot, name in ((plot_best_of_n, "n.png"), (plot_calibration, "c.png")):
        one, two = plot(tmp_path / name, [result]), plot(tmp_path / f"two_{name}", [result, result_of(9)])
        assert share_of(image(one), (0.0, 0.447, 0.698)) > 1e-3  # the first split's colour
        assert share_of(image(two), (0.835, 0.369, 0.0)) > 1e-3  # the second one's
    assert image(plot_spread(tmp_path / "s.png", result)).std() > 0.1


def test_a_single_hypothesis_has_no_calibration_to_draw(tmp_path):
    result = result_of(1)
    assert plot_calibration(tmp_path / "c.png", [result]) is None
    assert plot_spread(tmp_path / "s.png", result) is None
    assert plot_best_of_n(tmp_path / "n.png", [result]).is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["n.png"]


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiffPoseError, match="cannot be written"):
        plot_best_of_n(tmp_path / "file" / "n.png", [result_of()])
