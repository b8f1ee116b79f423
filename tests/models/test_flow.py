"""Flow matching: the path and its loss, and the orders of its samplers."""

import functools
import itertools
import json

import pytest
import torch

from models import build_model, build_sampler
from models.flow import Euler, FlowMatching, Heun, Midpoint
from models.samplers import Chain, run_chain
from tests.models.test_samplers import build, close
from utils.config import Config, change_config, parse_config
from utils.errors import DiffPoseError
from utils.randomness import FrameDraws, StepDraws

pytestmark = pytest.mark.usefixtures("narrow")


@functools.cache
def flow(**model):
    section = {"DIFFUSION_OBJECTIVE": "velocity", "TIMESTEPS": 25} | model
    return build_model(parse_config({"MODEL": section, "LOSS": {"LOSS_TYPE": "l2"}, "TRAIN": {"SCALE_3D_POSE": 10}}))


def ends(sampler, means=(0.0,), data=1.0) -> float:
    """Where the path from x = 1 ends by the exact velocity, for a mixture of N(mean, data^2) in equal shares."""
    centres = torch.tensor(means, dtype=torch.float64)

    def network(x, step):
        t = step / 25
        variance = (1 - t) ** 2 * data**2 + t**2
        away = x - (1 - t) * centres  # (1, 1, means)
        velocity = (t - (1 - t) * data**2) / variance * away - centres
        shares = (-(away**2) / (2 * variance)).softmax(-1)
        return (shares * velocity).sum(-1, keepdim=True)

    one = torch.ones(1, 1, 1, dtype=torch.float64)
    return float(run_chain(sampler, Chain(one, network, lambda d: 0.0)))


@pytest.mark.parametrize(("kind", "order"), [(Euler, 1), (Midpoint, 2), (Heun, 2)])
def test_samplers_have_their_order(kind, order):
    """Halving the steps divides the error by 2 or by 4, on two modes (on one, Midpoint is better than its order)."""
    model, modes = flow(), (-1.0, 1.5)
    truth = ends(Heun(model, steps=8192), modes, 0.5)
    errors = [abs(ends(kind(model, steps=n * kind.calls_per_step), modes, 0.5) - truth) for n in (64, 128, 256)]
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.1)


def test_five_euler_steps_are_too_narrow():
    assert ends(Euler(flow(), steps=5)) == pytest.approx(0.77, abs=5e-3)


@pytest.mark.parametrize("kind", [Euler, Midpoint, Heun])
@pytest.mark.parametrize("calls", [1, 2, 3, 10, 25])
def test_steps_count_network_calls(kind, calls):
    sampler, seen = kind(flow(), steps=calls), []
    run_chain(sampler, Chain(torch.ones(1, 1, 1), lambda x, t: seen.append(t) or x, lambda d: 0.0))
    assert len(seen) == calls
    assert seen[0] == 25
    assert sampler.pairs[-1][1] == 0
    assert len(kind(flow()).pairs) == -(-25 // kind.calls_per_step)


def test_path_and_loss(monkeypatch):
    model = flow()
    start, noise = torch.randn(4, 48), torch.randn(4, 48)
    t = torch.tensor([0.0, 1.0, 0.25, 0.5])
    x = model.q_sample(start, t, noise)
    assert torch.equal(x[0], start[0])
    assert torch.equal(x[1], noise[1])
    torch.testing.assert_close(x[2], 0.75 * start[2] + 0.25 * noise[2])
    seen = {}

    def network(x, step, condition):
        seen["step"] = step
        return noise - start + 3

    monkeypatch.setattr(model.denoise_fn, "forward", network)
    torch.testing.assert_close(model.losses(start, t, noise, torch.zeros(4, 32)), torch.full((4,), 9.0))
    torch.testing.assert_close(seen["step"], 25 * t)


def test_times_of_training():
    draws = StepDraws(0, 0, global_batch=20_000)
    uniform = flow().draw_times(draws)
    middle = flow(FLOW_TIME="logit_normal").draw_times(draws)
    assert float(uniform.std()) == pytest.approx(12**-0.5, abs=0.01)
    assert float((middle - 0.5).abs().lt(0.25).float().mean()) == pytest.approx(0.728, abs=0.01)  # P(|z| < ln 3)
    for times in (uniform, middle):
        assert times.shape == (20_000,)
        assert float(times.min()) >= 0
        assert float(times.max()) <= 1


def test_state_dict_is_that_of_diffusion():
    assert isinstance(flow(), FlowMatching)
    diffusion = build_model(parse_config({"MODEL": {"TIMESTEPS": 25}}))
    assert list(flow().state_dict()) == list(diffusion.state_dict())


def test_hypotheses_and_the_estimate_without_noise():
    """Fast and plain networks agree; the estimate is the path from x = 0, so NOISE_SCALE does not move it."""
    maps = torch.rand(2, 16, 64, 64, generator=torch.Generator().manual_seed(0)) ** 8
    model = build(DIFFUSION_OBJECTIVE="velocity")
    config = change_config(Config(), ["MODEL.DIFFUSION_OBJECTIVE=velocity", "TEST.STEPS=4"])
    fast = build_sampler(model, config, num_hypotheses=5)
    samples = fast(maps, FrameDraws(5, [1, 2]))
    assert type(fast.sampler) is Heun
    fast.network = model
    close(samples.hypotheses_mm, fast(maps, FrameDraws(5, [1, 2])).hypotheses_mm)
    model.noise_scale = 0.5
    other = fast(maps, FrameDraws(5, [1, 2]))
    close(other.zero_noise_mm, samples.zero_noise_mm)
    assert float((other.hypotheses_mm - samples.hypotheses_mm).abs().max()) > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["TEST.SAMPLER=heun"], r"TEST\.SAMPLER: MODEL\.DIFFUSION_OBJECTIVE pred_noise takes auto, ancestral"),
        (["MODEL.DIFFUSION_OBJECTIVE=velocity", "TEST.SAMPLER=ddim"], r"velocity takes auto, euler, midpoint, heun"),
        (["MODEL.DIFFUSION_OBJECTIVE=velocity", "TEST.VARIANCE=upper"], r"TEST\.VARIANCE: upper is for SAMPLER"),
        (["MODEL.FLOW_TIME=logit_normal"], r"MODEL\.FLOW_TIME: logit_normal is for DIFFUSION_OBJECTIVE velocity"),
    ],
)
def test_what_does_not_go_together(settings, message):
    with pytest.raises(DiffPoseError, match=message):
        change_config(Config(), settings)


@torch.no_grad()
def test_the_exact_velocity_has_the_smallest_loss(monkeypatch):
    """Data N(0, 1): of all multiples of the exact velocity, the velocity itself is what training ends at."""
    model, draws = flow(), StepDraws(0, 0, global_batch=20_000)
    start, noise, t = draws.normal("data", 48), draws.normal("noise", 48), model.draw_times(draws)
    losses = []
    for factor in (0.8, 1.0, 1.2):

        def network(x, step, condition, factor=factor):
            t = step[:, None] / 25
            return factor * (2 * t - 1) / ((1 - t) ** 2 + t**2) * x

        monkeypatch.setattr(model.denoise_fn, "forward", network)
        losses.append(float(model.losses(start, t, noise, torch.zeros(1)).mean()))
    assert losses[1] < min(losses[0], losses[2])


def test_a_flow_trains_resumes_and_evaluates(script, tiny):
    """The whole way by the scripts; a run that stops half-way and goes on ends at the same weights."""
    flow = ("MODEL.DIFFUSION_OBJECTIVE=velocity", "MODEL.FLOW_TIME=logit_normal", "TRAIN.NUM_STEPS=2")
    for name, settings in (("whole", ()), ("parts", ("TRAIN.NUM_STEPS=1", "TRAIN.SAVE_EVERY=1")), ("parts", ())):
        arguments = ("train", "--config", tiny, "--run_name", name, "--resume", "--no_eval", "--do_not_use_wandb")
        code, _, err = script(*arguments, "--set", *flow, *settings)
        assert code == 0, err
    runs = [tiny.parent / f"run_{name}" for name in ("whole", "parts")]
    whole, parts = (torch.load(run / "model-final.pt")["model"] for run in runs)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    arguments = ("eval", "--config", runs[0] / "config.yaml", "--do_not_use_wandb", "--no_pictures")
    reports = []
    for sampler in ("heun", "euler"):
        code, _, err = script(*arguments, "--sampler", sampler, "--steps", "3")
        assert code == 0, err
        reports.append(json.loads((runs[0] / "report.json").read_text())["results"][0]["rows"])
    assert reports[0]["best"] != reports[1]["best"]
    assert reports[0]["zero_noise"] != reports[1]["zero_noise"]
