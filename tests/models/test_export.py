"""Exported graphs against the model, and whole chains in numpy against PyTorch's."""

import json

import numpy as np
import pytest
import torch

from demo.onnx_chain import draw_candidates, lift, open_run, poses_mm, run_chain
from models.build import build_model, build_sampler
from models.export import chain_numbers, export_run
from tests.support.helpers import deterministic_weights
from utils.config import parse_config
from utils.errors import DiffPoseError
from utils.randomness import FrameDraws

pytestmark = pytest.mark.usefixtures("narrow")

HYPOTHESES, FRAMES, SAMPLES = 3, [5, 6], 4
MAPS = torch.rand(2, 16, 64, 64, generator=torch.Generator().manual_seed(0)) ** 8
CASES = {
    "ancestral": ("pred_x0", {}),
    "pred_noise": ("pred_noise", {}),
    "ddim": ("pred_x0", {"SAMPLER": "ddim", "STEPS": 3, "ETA": 0.5}),
    "start deviation": ("pred_x0", {"SAMPLER": "ddim", "STEPS": 3}),
    "heun": ("velocity", {"STEPS": 5}),
    "euler": ("velocity", {"SAMPLER": "euler", "STEPS": 3}),
}


def tiny(objective="pred_x0", test=None, **extra):
    """(configuration, model with known weights)."""
    extra = {
        "NUM_SAMPLES": SAMPLES,
        "SAMPLEABLE": True,
        "POS_EMB": "channel",
        "OLD": False,
        "PROJ_POS_EMB": True,
    } | extra
    section = {"CONDITION_TYPE": "embedded_poseformer", "CONDITION_KEY": "heatmaps", "CONDITION_DIM": 4, "TIMESTEPS": 6}
    config = parse_config(
        {
            "MODEL": section | {"DIFFUSION_OBJECTIVE": objective, "NOISE_SCALE": 0.9, "EXTRA": extra},
            "TRAIN": {"SCALE_3D_POSE": 10},
            "TEST": {"NUM_HYPO": HYPOTHESES} | (test or {}),
        }
    )
    return config, deterministic_weights(build_model(config))


class SameDraws:
    """PyTorch's draws as numpy's random() and normal()."""

    def __init__(self):
        draws = FrameDraws(3, FRAMES)
        uniform = draws.uniform("candidates", 16, HYPOTHESES * (SAMPLES - 1)).unflatten(-1, (HYPOTHESES, -1))
        self.uniform = uniform.transpose(1, 2).numpy()  # (N, H, J, S - 1)
        self.normals = [draws.normal("initial_noise", HYPOTHESES, 48), *draws.normals("step_noise", 5, HYPOTHESES, 48)]

    def random(self, shape):
        assert self.uniform.shape == shape
        return self.uniform

    def normal(self, size):
        return self.normals.pop(0).reshape(size).numpy()


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_the_chain_in_numpy_is_that_of_the_sampler(case):
    """With the same draws, PyTorch's network in both: candidates, every step, and poses in mm."""
    config, model = tiny(*CASES[case])
    if case == "start deviation":
        model.start_deviation = 0.7
    chain, draws = json.loads(json.dumps(chain_numbers(model, config))), SameDraws()
    cells, likelihood = draw_candidates(MAPS.numpy(), draws.uniform, chain["with_argmax"])
    theirs = model.draw_condition_input(MAPS, HYPOTHESES, FrameDraws(3, FRAMES))
    assert np.array_equal(cells, theirs.cells.flatten(0, 1).numpy())
    assert np.array_equal(likelihood, theirs.likelihood.flatten(0, 1).numpy())
    condition = model.condition(theirs)

    def network(x, t):
        return model.denoise(torch.from_numpy(x).float(), float(t), condition).numpy()

    poses = poses_mm(run_chain(network, chain, lambda: draws.normal((6, 48))), chain)
    wanted = build_sampler(model, config, zero_noise=False)(MAPS, FrameDraws(3, FRAMES)).hypotheses_mm
    assert np.abs(poses.reshape(wanted.shape) - wanted.numpy()).max() < 0.1  # mm: 1e-4 m


def test_torch_graphs_take_any_batch(tmp_path):
    config, model = tiny()
    paths = export_run(config, model, tmp_path, kind="torch")
    assert [path.name for path in paths] == ["condition.pt2", "denoiser.pt2", "chain.json"]
    condition, denoiser = (torch.export.load(path).module() for path in paths[:2])
    candidates = model.draw_condition_input(MAPS, HYPOTHESES, FrameDraws(3, FRAMES))
    with torch.no_grad():
        wanted = model.condition(candidates)
        rows = candidates.rows()
        found = condition(cells=rows.cells.squeeze(1), likelihood=rows.likelihood.squeeze(1))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        for count in (1, 6):
            x, t = torch.randn(count, 48), torch.full((count,), 2.0)
            output = denoiser(x=x, t=t, condition=wanted[:count])
            torch.testing.assert_close(output, model.denoise_fn(x, t, wanted[:count]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["ancestral", "heun"])
def test_onnx_chains_end_where_pytorchs_do(case, tmp_path):
    pytest.importorskip("onnxruntime", reason="pip install 'diffpose[onnx]'")
    pytest.importorskip("onnxscript")
    config, model = tiny(*CASES[case])
    export_run(config, model, tmp_path, kind="onnx")
    poses = lift(MAPS.numpy(), HYPOTHESES, SameDraws(), *open_run(tmp_path))
    wanted = build_sampler(model, config, zero_noise=False)(MAPS, FrameDraws(3, FRAMES)).hypotheses_mm
    assert np.abs(poses - wanted.numpy()).max() < 0.1  # mm: 1e-4 m


def test_conditions_that_have_no_fixed_normalisation_are_refused(tmp_path):
    config, model = tiny(POS_EMB="sin", NORM_METHOD="mean_std")
    with pytest.raises(DiffPoseError, match="only a condition of drawn candidates in image coordinates"):
        export_run(config, model, tmp_path, kind="torch")
