"""The model against vectors made by running the published implementation."""

import numpy as np
import pytest
import torch
from torch import nn

from models import build_model
from models.candidates import Candidates
from models.fast import InferenceNetwork
from models.fast.packed import PackedCondition
from models.samplers import PoseSampler
from tests.support.helpers import RecordedDraws, deterministic_weights
from utils.config import parse_config

MAIN = {
    "CONDITION_TYPE": "embedded_poseformer",
    "CONDITION_DIM": 128,
    "CONDITION_KEY": "heatmaps",
    "TIMESTEPS": 25,
    "EXTRA": {"NUM_SAMPLES": 32, "SAMPLEABLE": True, "POS_EMB": "channel", "OLD": False, "PROJ_POS_EMB": True},
}
CONCAT = {
    "CONDITION_TYPE": "heatmap_sampling_concatenated",
    "CONDITION_DIM": -1,
    "CONDITION_KEY": "heatmaps",
    "TIMESTEPS": 25,
    "DENOISER_TYPE": "base_concat",
    "EXTRA": {"NUM_SAMPLES": 32, "CONDITION_ORDERED_SAMPLES": True, "NORM_METHOD": "mean_std"},
}
CASES = {
    "diffpose": {"MODEL": MAIN, "LOSS": {"LOSS_TYPE": "l2"}},
    "diffpose_pred_x0": {"MODEL": MAIN | {"DIFFUSION_OBJECTIVE": "pred_x0"}, "LOSS": {"LOSS_TYPE": "l1"}},
    "baseline_concat": {"MODEL": CONCAT, "LOSS": {"LOSS_TYPE": "l2"}},
}


@pytest.fixture(scope="module", params=CASES)
def case(request, vectors):
    """(model with the deterministic weights, vectors as tensors, the state dict's names)."""
    config = parse_config(CASES[request.param] | {"TRAIN": {"SCALE_3D_POSE": 10}})
    arrays = vectors(request.param)
    names = list(arrays.pop("state_dict_names"))
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    return deterministic_weights(build_model(config)), tensors, names


def candidates_of(vector: dict) -> Candidates:
    """The recorded candidates, with the cells that their normalised positions stand for."""
    column, row = (vector["candidate_xy"] * 32 + 32).round().long().transpose(2, 3).unbind(-1)
    stat = torch.full((1, 1, 1, 1, 1), 32.0)
    likelihood = vector["candidate_likelihood"].transpose(2, 3).contiguous()
    return Candidates(row * 64 + column, likelihood, stat, stat, on_grid=True)


def condition_rows(vector: dict) -> torch.Tensor:
    return vector["condition"].expand(2, 3, -1).reshape(6, -1)


def close(ours, theirs, relative=1e-5):
    scale = float(theirs.abs().max())
    assert float((ours - theirs).abs().max()) <= relative * scale


def test_state_dict_has_the_published_names_and_shapes_in_order(case):
    model, _, names = case
    ours = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()]
    assert sorted(ours) == sorted(names)
    assert ours == names


def test_main_configuration_has_the_published_size(vectors):
    model = build_model(parse_config(CASES["diffpose"]))
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_412_273


def test_schedule(case):
    model, vector, _ = case
    for name, value in vector.items():
        if name.startswith("schedule_"):
            torch.testing.assert_close(getattr(model, name.removeprefix("schedule_")), value, rtol=1e-6, atol=0)


def test_sampler_reads_positions_and_likelihoods_as_published(case):
    _, vector, _ = case
    if "candidate_xy" not in vector:
        pytest.skip("this vector holds no candidates")
    candidates = candidates_of(vector)
    torch.testing.assert_close(candidates.positions.transpose(2, 3), vector["candidate_xy"], rtol=0, atol=0)
    maps = vector["heatmap"].float().flatten(2)
    peak = maps.max(dim=-1)
    assert torch.equal(candidates.cells[..., 0], peak.indices[:, None].expand(-1, 3, -1))
    assert torch.equal(candidates.likelihood[..., 0], peak.values[:, None].expand(-1, 3, -1))
    drawn = maps.clamp(min=0)[:, None].expand(-1, 3, -1, -1).gather(-1, candidates.cells[..., 1:])
    assert torch.equal(candidates.likelihood[..., 1:], drawn)


@torch.no_grad()
def test_condition(case, monkeypatch):
    model, vector, _ = case
    if "candidate_xy" in vector:
        close(model.condition(candidates_of(vector)), condition_rows(vector))
        return
    # Concatenation: the condition is the candidates. Ours, made from the cells it names, must come out the same.
    sampler = model.heatmap_sampler
    for maps, condition in zip(
        vector["heatmap"].float().flatten(1).view(2, 16, 4096), vector["condition"], strict=True
    ):
        cells = drawn_cells(maps, condition.view(32, 16, 2)[1:])
        draws = RecordedDraws({"candidates": torch.zeros(1)}, frames=[0])  # not looked at: the cells are given
        monkeypatch.setattr(sampler, "_with_replacement", lambda *args, cells=cells: cells[None, None])
        shuffled = sampler(maps.view(1, 16, 64, 64), 1, draws)
        close(model.condition(shuffled), condition, 1e-6)


def drawn_cells(maps: torch.Tensor, normalised: torch.Tensor) -> torch.Tensor:
    """The cells (16, 31) whose normalised positions (31, 16, 2) are given: the offset that orders all likelihoods."""
    steps = torch.unique(normalised[..., 0]).diff()
    grid = (normalised / steps[steps > 1e-3].min()).double()
    whole = (grid - grid.amin((0, 1))).round().long()
    found = []
    for oy in range(64 - int(whole[..., 1].max())):
        for ox in range(64 - int(whole[..., 0].max())):
            cells = ((whole[..., 1] + oy) * 64 + whole[..., 0] + ox).T
            if bool((maps.gather(-1, cells).diff(dim=-1) <= 0).all()):
                found.append(cells)
    assert len(found) == 1
    return found[0]


@torch.no_grad()
def test_denoiser_and_noising(case):
    model, vector, _ = case
    close(model.denoise_fn(vector["x_t"], vector["t"], condition_rows(vector)), vector["denoiser_out"])
    close(model.q_sample(vector["x_start"], vector["t"], vector["noise"]), vector["q_sample"])


@torch.no_grad()
def test_loss(case):
    model, vector, _ = case
    loss = model.losses(vector["x_start"], vector["t"], vector["noise"], condition_rows(vector)).mean()
    assert float(loss) == pytest.approx(float(vector["loss"]), rel=1e-5)


@torch.no_grad()
def test_posterior(case):
    model, vector, _ = case
    for row, t in enumerate(vector["t"].tolist()):
        x = vector["x_t"][row]
        mean = model.posterior_mean(model.predict_start(x, t, vector["denoiser_out"][row]), x, t)
        close(mean, vector["p_mean"][row])
        assert float(model.posterior_deviation(t) ** 2) == pytest.approx(
            float(vector["p_log_variance"][row].exp()), rel=1e-5
        )


@torch.no_grad()
@pytest.mark.parametrize("network", ["plain", "fast"])
@pytest.mark.parametrize("chunk", [0, 2])
def test_whole_chains(case, chunk, network, monkeypatch):
    """Sampling with the recorded conditions and noises ends at the recorded poses."""
    model, vector, _ = case
    conditions = condition_rows(vector).view(2, 3, -1)
    monkeypatch.setattr(model, "draw_condition_input", lambda *args, **kwargs: None)
    sampler = PoseSampler(model, num_hypotheses=3, chunk=chunk)
    if network == "fast":
        sampler.network = InferenceNetwork(model, "float32")
        conditions = PackedCondition(nn.Identity(), model.denoise_fn, torch.float32)(conditions)
    monkeypatch.setattr(sampler, "_conditions", lambda _: conditions)
    start = vector["chain_init_noise"].view(2, 3, 48)
    draws = RecordedDraws(
        {"initial_noise": start, "step_noise": list(vector["chain_step_noise"].view(25, 2, 3, 48))}, frames=[0, 1]
    )
    poses = sampler._hypotheses(vector["heatmap"], draws)
    close(poses, sampler.to_poses_mm(vector["chain_poses_m"].view(2, 3, 48) * 10), 1e-4)

    x = sampler._run(sampler.zero_noise_sampler, start, conditions)
    close(x.view(6, 48) / 10, vector["mean_chain_poses_m"], 1e-4)
    close(sampler.to_poses_mm(x).view(6, 17, 3).transpose(1, 2), vector["mean_chain_poses17_mm"], 1e-4)


def test_recorded_chain_is_sensitive_to_its_noise(vectors):
    """A guard on the test above: pred_x0's chain does not saturate, so another noise gives other poses."""
    vector = vectors("diffpose_pred_x0")
    assert np.abs(vector["chain_poses_m"]).max() < 3
    assert np.abs(vector["chain_poses_m"] - vector["mean_chain_poses_m"]).max() > 1e-3
