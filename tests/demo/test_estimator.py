"""The library: three lines to poses, heatmaps of other detectors, scale by height; and the demo's own weights."""

import numpy as np
import pytest
import torch

from demo import PoseEstimator
from demo.agreement import Agreement, at_all_yaws, body_axes, cell_errors, facing
from demo.estimator import SHIPPED_RUN, own_heatmaps, stature_mm
from demo.export import half_precision, upright_mean
from demo.person import Person
from tests.support.helpers import ROOT
from utils.errors import DiffPoseError
from utils.skeleton import H36M17, MPII_JOINTS, MPII_TO_H36M


@pytest.fixture
def estimator(run_folder):
    return PoseEstimator.load(run_folder / "config.yaml", num_hypotheses=12, device="cpu")


@pytest.fixture
def heatmaps():
    return np.random.default_rng(0).uniform(0, 1, (3, 16, 64, 64)).astype(np.float32) ** 4


def test_arrays_and_their_shapes(estimator, heatmaps):
    poses = estimator.from_heatmaps(heatmaps)
    assert poses.hypotheses_mm.shape == (3, 12, 17, 3)
    assert poses.consensus_mm.shape == (3, 17, 3)
    assert poses.spread_mm.shape == poses.guessed.shape == (3, 17)
    assert (poses.hypotheses_mm[:, :, 0] == 0).all()
    assert len(poses.modes) == 3
    assert poses.skeleton is H36M17


def test_draws_are_keyed_by_frame_and_seed(estimator, heatmaps, run_folder):
    whole = estimator.from_heatmaps(heatmaps).hypotheses_mm
    part = estimator.from_heatmaps(heatmaps[1:], frames=[1, 2]).hypotheses_mm
    np.testing.assert_allclose(part, whole[1:], atol=1e-2)
    other = PoseEstimator.load(run_folder / "config.yaml", num_hypotheses=12, device="cpu", seed=1)
    assert np.abs(other.from_heatmaps(heatmaps).hypotheses_mm - whole).max() > 1


def test_other_detectors_maps(heatmaps):
    names = list(reversed(MPII_JOINTS))[:14]
    maps = own_heatmaps(heatmaps[:, [MPII_JOINTS.index(name) for name in names]], names)
    np.testing.assert_array_equal(maps[:, 2:], heatmaps[:, 2:])
    assert (maps[:, :2] == maps[0, 0, 0, 0]).all(), "two joints without a map: nothing is said about them"
    assert maps.min() > 0
    large = np.zeros((1, 16, 128, 96), np.float32)
    large[0, :, 64:66, 48:51] = 1
    small = own_heatmaps(large, None)[0, 0]
    assert abs(int(small.argmax()) // 64 - 32) <= 1
    assert abs(int(small.argmax()) % 64 - 32) <= 1


def test_maps_that_do_not_fit(heatmaps):
    for maps, joints, words in (
        (heatmaps[:, :14], None, "expected"),
        (heatmaps[:, :2], ["RFoot", "Nose"], "Nose"),
        (heatmaps[:, :2], ["RFoot", "RFoot"], "twice"),
        (heatmaps[0], None, "expected"),
        (heatmaps * np.nan, None, "NaN"),
    ):
        with pytest.raises(DiffPoseError, match=words):
            own_heatmaps(maps, joints)


def test_height_sets_the_scale(run_folder, heatmaps):
    options = {"num_hypotheses": 4, "device": "cpu"}
    plain = PoseEstimator.load(run_folder / "config.yaml", **options).from_heatmaps(heatmaps)
    tall = PoseEstimator.load(run_folder / "config.yaml", height_cm=190.0, **options).from_heatmaps(heatmaps)
    ratio = tall.hypotheses_mm[:, :, 1:] / plain.hypotheses_mm[:, :, 1:]
    np.testing.assert_allclose(ratio, ratio[:, :1, :1, :1] * np.ones_like(ratio), rtol=2e-3)
    np.testing.assert_allclose(stature_mm(torch.from_numpy(tall.hypotheses_mm)).mean(1), 1900, rtol=1e-3)
    with pytest.raises(DiffPoseError, match="height"):
        PoseEstimator.load(run_folder / "config.yaml", height_cm=5.0, **options)


def test_stature_of_a_benchmark_body():
    from data.synthetic.bodies import subject_body
    from data.synthetic.kinematics import Motion

    body = subject_body("S9")
    joints = torch.from_numpy(Motion(body, 1).joints())
    assert float(stature_mm(joints)) == pytest.approx(body.stature, rel=0.03)


def test_a_run_without_heatmaps_is_refused(run_folder, tmp_path):
    from utils.config import change_config, load_config, save_config

    settings = ["MODEL.CONDITION_TYPE=pose_2d", "MODEL.CONDITION_KEY=p2d_hrnet", "MODEL.CONDITION_DIM=32"]
    save_config(change_config(load_config(run_folder / "config.yaml"), settings), tmp_path / "config.yaml")
    with pytest.raises(DiffPoseError):
        PoseEstimator.load(tmp_path / "config.yaml", checkpoint=run_folder / "model-final.pt", device="cpu")


def test_images_as_arrays(estimator, walker):
    people = estimator(walker)
    assert len(people.persons) == len(people.poses.consensus_mm) == 1
    alpha = np.concatenate([walker, np.full((*walker.shape[:2], 1), 255, np.uint8)], -1)
    np.testing.assert_array_equal(estimator(alpha).poses.hypotheses_mm, people.poses.hypotheses_mm)
    with pytest.raises(DiffPoseError, match="--person 3"):
        estimator(walker, person=3)
    with pytest.raises(DiffPoseError, match="an image is"):
        estimator(walker[0, 0])


def test_a_figure_looks_where_it_faces():
    pose = np.zeros((17, 3))
    pose[[4, 11], 0], pose[[1, 14], 0] = 100, -100  # the left side is on the picture's right: facing the camera
    pose[[8, 11, 14], 1] = 500
    assert facing(*body_axes(pose))[2] > 0
    turned = at_all_yaws(pose)
    assert facing(*body_axes(turned[36]))[2] < 0
    np.testing.assert_allclose(turned[:, :, 1], np.tile(pose[:, 1], (72, 1)))


def person_showing(pose):
    """A person whose detected joints are the pose's projection: 20 mm a cell, 4 px a cell."""
    cells = 32 + pose[list(MPII_TO_H36M), :2] * (1, -1) / 30
    return Person(np.array([10.0, 20.0]), 256.0, np.zeros((16, 64, 64)), np.array([10, 20]) + cells * 4, np.ones(16))


def test_reprojection_errors():
    generator = np.random.default_rng(0)
    pose = generator.normal(0, 250, (17, 3))
    person = person_showing(pose)
    assert cell_errors(pose[None], person)[0] < 1e-3
    assert cell_errors(2 * pose[None] + 7, person)[0] < 1e-3, "scale and place don't matter"
    other = generator.normal(0, 250, (1, 17, 3))
    assert cell_errors(other, person)[0] > 3
    agreement = Agreement(mean_pose_mm=other[0])
    agreement.add(pose, person)
    assert agreement.mean_pose_errors[0] > 2
    assert "0.00 heatmap cells" in agreement.lines()[0]
    assert Agreement().lines() == []


def test_the_mean_pose_faces_the_camera():
    generator = np.random.default_rng(0)
    pose = generator.normal(0, 250, (17, 3))
    pose[[4, 11], 0], pose[[1, 14], 0], pose[[1, 4, 11, 14], 2] = 100, -100, 0
    np.testing.assert_allclose(upright_mean(at_all_yaws(pose)), pose, atol=1e-6)


def test_exported_weights_keep_their_tables_whole():
    state = {"w": torch.randn(3), "betas": torch.rand(3), "count": torch.tensor(3)}
    out = half_precision(state, {"betas"})
    assert (out["w"].dtype, out["betas"].dtype, out["count"].dtype) == (torch.float16, torch.float32, torch.int64)


def test_the_shipped_weights_know_the_benchmark():
    """Frames of a test subject, drawn with another seed than the file's: better than any pose that saw nothing."""
    from data.pose_items import truth_mm
    from data.synthetic.actions import perform
    from data.synthetic.bodies import subject_body
    from data.synthetic.cameras import CAMERAS
    from data.synthetic.views import simulate_view

    joints = perform("Walking", 0, subject_body("S9"), 160, np.random.default_rng(12345))[3::20]
    view = simulate_view(joints, CAMERAS[0], subject_body("S9"), np.random.default_rng(0))
    truth = truth_mm(view["gt_3d"], "h36m")
    estimator = PoseEstimator.load(num_hypotheses=20, device="cpu")
    poses = estimator.from_heatmaps(view["heatmap"])
    errors = np.linalg.norm(poses.consensus_mm - truth, axis=-1).mean(-1)
    assert errors.mean() < 110
    mean_pose = truth.mean(0)
    assert errors.mean() < 0.6 * np.linalg.norm(at_all_yaws(mean_pose)[::6, None] - truth, axis=-1).mean()


def test_the_shipped_files_are_small_and_documented():
    folder = SHIPPED_RUN.parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 25e6
    card = (folder / "MODEL_CARD.md").read_text()
    for word in ("seed", "synthetic", "must not", "python train.py", "python demo/export.py"):
        assert word in card
    assert "demo/weights" in (ROOT / "docs" / "demo.md").read_text()
