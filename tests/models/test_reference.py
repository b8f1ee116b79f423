"""models/reference.py against the published vectors, and every fast path of the main configuration against it."""

import ast

import pytest
import torch
from torch import nn

from models import build_model, build_plain_model, build_sampler
from models.fast import InferenceNetwork
from models.reference import DiffPose, draw_candidates, poses_mm
from models.samplers import PoseSampler
from tests.support.helpers import ROOT, deterministic_weights
from utils.cell_lists import CellLists
from utils.config import change_config, load_config
from utils.randomness import FrameDraws, StepDraws

OBJECTIVES = {"diffpose": ("pred_noise", "l2"), "diffpose_pred_x0": ("pred_x0", "l1")}


def close(ours, theirs, relative=1e-5):
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= relative * float(theirs.abs().max())


# --- against the published implementation


@pytest.fixture(scope="module", params=OBJECTIVES)
def case(request, vectors):
    """(the reference with the deterministic weights, vectors as tensors, the state dict's names)."""
    objective, loss_type = OBJECTIVES[request.param]
    arrays = vectors(request.param)
    names = list(arrays.pop("state_dict_names"))
    model = deterministic_weights(DiffPose(objective=objective, loss_type=loss_type))
    return model, {name: torch.from_numpy(value) for name, value in arrays.items()}, names


def test_it_is_short_and_needs_torch_alone():
    text = (ROOT / "models" / "reference.py").read_text()
    assert len(text.splitlines()) <= 250
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    assert found == {"math", "torch", "torch.nn"}


def test_state_dict_is_the_published_one(case):
    model, _, names = case
    assert [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()] == names


@torch.no_grad()
def test_condition_and_denoiser(case):
    model, vector, _ = case
    position = vector["candidate_xy"].transpose(2, 3)  # (B, H, J, S, 2)
    likelihood = vector["candidate_likelihood"].transpose(2, 3)
    condition = vector["condition"].flatten(0, 1)
    close(model.condition(position, likelihood), condition)
    close(model.denoise_fn(vector["x_t"], vector["t"], condition), vector["denoiser_out"])


@torch.no_grad()
def test_schedule_noising_loss_and_posterior(case):
    model, vector, _ = case
    for name, value in vector.items():
        if name.startswith("schedule_"):
            torch.testing.assert_close(getattr(model, name.removeprefix("schedule_")), value, rtol=1e-6, atol=0)
    close(model.q_sample(vector["x_start"], vector["t"], vector["noise"]), vector["q_sample"])
    loss = model.loss_of(vector["x_start"], vector["t"], vector["noise"], vector["condition"].flatten(0, 1))
    assert float(loss) == pytest.approx(float(vector["loss"]), rel=1e-5)
    for row, t in enumerate(vector["t"].tolist()):
        mean = model.posterior_mean(vector["x_t"][row], t, vector["denoiser_out"][row])
        close(mean, vector["p_mean"][row])
        close(model.posterior_log_variance_clipped[t, None], vector["p_log_variance"][row])


def test_whole_chains(case):
    model, vector, _ = case
    condition = vector["condition"].flatten(0, 1)
    start, noises = vector["chain_init_noise"], list(vector["chain_step_noise"])
    close(model.reverse_chain(start, condition, noises) / 10, vector["chain_poses_m"], 1e-4)
    mean = model.reverse_chain(start, condition, None)
    close(mean / 10, vector["mean_chain_poses_m"], 1e-4)
    close(poses_mm(mean).transpose(1, 2), vector["mean_chain_poses17_mm"], 1e-4)


# --- the rest of models/ against it, in the main configuration


def configuration(*settings):
    shorter = ["MODEL.TIMESTEPS=4", "MODEL.CONDITION_DIM=16"]
    return change_config(load_config(ROOT / "diffpose.yaml"), [*shorter, *settings])


def reference_of(model):
    """The reference with the weights of a model of the main configuration."""
    reference = DiffPose(timesteps=model.timesteps, condition_dim=16, objective=model.objective)
    reference.load_state_dict(model.state_dict())
    return reference.train(model.training)


@pytest.fixture(scope="module")
def model():
    return deterministic_weights(build_model(configuration()))


@pytest.fixture(scope="module")
def weights(model):
    return model.state_dict()


@pytest.fixture(scope="module")
def maps():
    """Detector-like heatmaps (3, 16, 64, 64) with exact zeros, as cell lists keep them."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(3, 16, 64, 64, generator=generator) ** 20 - 0.01).clamp(min=0)


def test_main_configuration_is_the_references(model):
    config = load_config(ROOT / "diffpose.yaml")
    reference, ours = DiffPose(), build_model(config)
    assert {name: value.shape for name, value in reference.state_dict().items()} == {
        name: value.shape for name, value in ours.state_dict().items()
    }
    assert (reference.timesteps, reference.objective, reference.loss_type) == (25, ours.objective, ours.loss_type)
    assert reference.samples == ours.heatmap_sampler.num_samples
    assert reference.drop_probability == ours.condition_emb.drop_prob
    assert ours.pose_scale == 10


def test_reference_has_pytorchs_own_layers():
    kinds = {type(module).__module__.split(".")[0] for module in DiffPose().modules()}
    assert kinds == {"torch", "models"}
    assert not any(isinstance(m, nn.Linear) and type(m).__module__.startswith("models") for m in DiffPose().modules())


def test_fast_layers_draw_nothing_and_share_everything():
    """Plain layers first, then the swap: the same weights from the same state of the generator, and no further draw."""
    found = []
    for build in (build_plain_model, build_model):
        torch.manual_seed(3)
        found.append((build(configuration()), torch.get_rng_state()))
    (plain, after_plain), (fast, after_fast) = found
    assert torch.equal(after_plain, after_fast)
    assert list(plain.state_dict()) == list(fast.state_dict())
    for (name, a), (other, b) in zip(plain.named_parameters(), fast.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(a, b)
    assert not any(type(module).__module__.startswith("models.fast") for module in plain.modules())
    replaced = {type(module).__name__ for module in fast.modules() if type(module).__module__.startswith("models.fast")}
    assert replaced == {"Linear", "SelfAttention", "CheapDropout"}


@torch.no_grad()
def test_condition_and_denoiser_equal_the_references(model, maps):
    candidates = model.heatmap_sampler(maps, 3, FrameDraws(0, [0, 1, 2]))
    reference = reference_of(model)
    condition = reference.condition(candidates.positions, candidates.likelihood)
    torch.testing.assert_close(model.condition(candidates), condition, rtol=1e-4, atol=1e-4)
    x, t = torch.randn(9, 48), torch.full((9,), 2)
    expected = reference.denoise_fn(x, t, condition)
    torch.testing.assert_close(model.denoise_fn(x, t, condition), expected, rtol=1e-4, atol=1e-4)


STEPS = {
    "plain": (build_plain_model, lambda maps: maps, "pred_noise"),
    "fast": (build_model, lambda maps: maps, "pred_noise"),
    "cell lists, x_0": (build_model, CellLists.from_maps, "pred_x0"),
}


@pytest.mark.parametrize("step", STEPS)
def test_loss_and_gradients_equal_the_references(weights, maps, step):
    """A training step's loss with its own draws: t, noise, candidates and dropped joints; without random dropout."""
    build, inputs, objective = STEPS[step]
    model = build(configuration(f"MODEL.DIFFUSION_OBJECTIVE={objective}"))
    model.load_state_dict(weights)
    reference = reference_of(model.train())
    for module in [*model.modules(), *reference.modules()]:
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    target_m, draws = torch.randn(3, 16, 3) / 4, StepDraws(0, 0, global_batch=3)
    ours = model.loss(target_m, inputs(maps), draws)
    ours.backward()

    candidates = model.heatmap_sampler(maps, 1, draws)
    keep = draws.uniform("joint_drop", 16) >= 0.1
    assert not bool(keep.all())
    x_start = 10 * target_m.transpose(1, 2).flatten(1)
    t, noise = draws.integers("timestep", 4), draws.normal("noise", 48)
    condition = reference.condition(candidates.positions, candidates.likelihood, keep)
    loss = reference.loss_of(x_start, t, noise, condition)
    loss.backward()
    assert float(ours.detach()) == pytest.approx(float(loss.detach()), rel=1e-5)
    for (name, value), expected in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert (value.grad is None) == (expected.grad is None), name
        if value.grad is not None:
            close(value.grad, expected.grad, 1e-4)


@pytest.mark.parametrize("objective", ["pred_noise", "pred_x0"])
@pytest.mark.parametrize("precision", ["plain", "float32", "tf32", "bfloat16"])
def test_sampling_equals_the_references_chain(weights, maps, precision, objective):
    """The same candidates and noises through the sampler, with plain or fast layers, and through the reference."""
    if precision == "bfloat16" and objective == "pred_noise":
        pytest.skip("with these weights the first steps divide rounding by a very small number")
    config = configuration(f"MODEL.DIFFUSION_OBJECTIVE={objective}")
    model = build_model(config)
    model.load_state_dict(weights)
    draws, reference = FrameDraws(5, [3, 1, 4]), reference_of(model.eval())
    sampler = PoseSampler(model, num_hypotheses=4)
    if precision != "plain":
        sampler = build_sampler(model, config, num_hypotheses=4, precision=precision)
        assert isinstance(sampler.network, InferenceNetwork)
    candidates = model.heatmap_sampler(maps, 4, draws)
    with torch.no_grad():
        condition = reference.condition(candidates.positions, candidates.likelihood)
    start = draws.normal("initial_noise", 4, 48).flatten(0, 1)
    noises = [noise.flatten(0, 1) for noise in draws.normals("step_noise", 3, 4, 48)]
    expected = poses_mm(reference.reverse_chain(start, condition, noises)).view(3, 4, 17, 3)
    close(sampler(maps, draws).hypotheses_mm, expected, 0.05 if precision == "bfloat16" else 1e-4)


def test_candidates_follow_the_same_law(model, maps):
    position, likelihood = draw_candidates(maps, 400, 32)
    ours = model.heatmap_sampler(maps, 400, FrameDraws(0, [0, 1, 2]))
    assert position.shape == ours.positions.shape
    assert torch.equal(position[:, :, :, 0], ours.positions[:, :, :, 0])  # the maximum
    torch.testing.assert_close(likelihood.mean((1, 3)), ours.likelihood.mean((1, 3)), rtol=0.05, atol=0.01)
    torch.testing.assert_close(position.mean((1, 3)), ours.positions.mean((1, 3)), rtol=0, atol=0.02)


def test_own_draws_have_the_same_spread(model, maps):
    torch.manual_seed(0)
    plain = reference_of(model).sample(maps[:1], 300)
    ours = build_sampler(model, configuration(), num_hypotheses=300)(maps[:1], FrameDraws(0, [0])).hypotheses_mm
    scale = float(ours.std(1).mean())
    assert float((plain.mean(1) - ours.mean(1)).abs().mean()) < 0.3 * scale
    assert float(plain.std(1).mean()) == pytest.approx(scale, rel=0.1)
