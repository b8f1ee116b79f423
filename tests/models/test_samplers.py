"""Sampling: the chain against a plain one, and draws that belong to (seed, frame, purpose) alone."""

import pytest
import torch

from models import build_model, build_sampler
from models.denoiser import flatten_pose, unflatten_pose
from models.fast import InferenceNetwork
from models.samplers import PoseSampler
from tests.support.helpers import deterministic_weights
from utils.config import Config, parse_config
from utils.randomness import FrameDraws

pytestmark = pytest.mark.usefixtures("narrow")

HYPOTHESES = 7
# Whose weights a sampler calls: the model's own plain layers, or those that build_sampler puts in their place.
NETWORKS = {"plain": lambda model: None, "fast": lambda model: InferenceNetwork(model, "float32")}


def build(**model):
    extra = {"NUM_SAMPLES": 6, "SAMPLEABLE": True, "POS_EMB": "channel", "OLD": False, "PROJ_POS_EMB": True}
    section = {
        "CONDITION_TYPE": "embedded_poseformer",
        "CONDITION_DIM": 16,
        "CONDITION_KEY": "heatmaps",
        "TIMESTEPS": 5,
        "DIFFUSION_OBJECTIVE": "pred_x0",
        "EXTRA": extra | model.pop("EXTRA", {}),
    }
    return deterministic_weights(build_model(parse_config({"MODEL": section | model, "TRAIN": {"SCALE_3D_POSE": 10}})))


VARIANTS = {
    "main": {},
    "pred_noise": {"DIFFUSION_OBJECTIVE": "pred_noise"},
    "mean_std": {"EXTRA": {"POS_EMB": "sin", "NORM_METHOD": "mean_std"}},
    "linear": {"EXTRA": {"POS_EMB": "linear", "NORM_METHOD": "mean_std"}},
    "shared": {"EXTRA": {"SAMPLEABLE": False}},
    "no_replacement": {"EXTRA": {"NO_REPLACEMENT": True}},
    "full_heatmap": {"EXTRA": {"FULL_HEATMAP": True}},
    "concatenation": {
        "CONDITION_TYPE": "heatmap_sampling_concatenated",
        "CONDITION_DIM": -1,
        "DENOISER_TYPE": "base_concat",
        "EXTRA": {"CONCAT_LIKELIHOOD": True, "CONDITION_ORDERED_SAMPLES": True},
    },
    "pose_2d": {"CONDITION_TYPE": "pose_2d", "CONDITION_KEY": "p2d_hrnet", "CONDITION_DIM": 32},
}


@pytest.fixture(scope="module", params=VARIANTS)
def case(request):
    """(model, inputs of 5 frames)."""
    generator = torch.Generator().manual_seed(0)
    if request.param == "pose_2d":
        inputs = torch.randn(5, 32, generator=generator)
    else:
        inputs = torch.rand(5, 16, 64, 64, generator=generator) ** 8
    return build(**VARIANTS[request.param]), inputs


FRAMES = [3, 14, 15, 92, 65]


@torch.no_grad()
def plain_chain(model, inputs, frame: int, seed: int):
    """One frame's hypotheses (H, J, 3) in mm by the textbook loop: conditions concatenated at every step."""
    draws = FrameDraws(seed, [frame])
    condition = model.condition(model.draw_condition_input(inputs[None], HYPOTHESES, draws))
    condition = condition.expand(HYPOTHESES, -1)
    width = model.denoise_fn.parts[0]
    x = draws.normal("initial_noise", HYPOTHESES, width)[0]
    noises = [noise[0] for noise in draws.normals("step_noise", model.timesteps - 1, HYPOTHESES, width)]
    first = model.denoise_fn.upscale
    for t in reversed(range(model.timesteps)):
        hidden = first(torch.cat([x, torch.full((HYPOTHESES, 1), float(t)), condition], dim=-1))
        output = model.denoise_fn.pose(model.denoise_fn.res_pose2(model.denoise_fn.res_pose1(hidden)))
        abar, before = model.alphas_cumprod[t].double(), model.alphas_cumprod_prev[t].double()
        beta = model.betas[t].double()
        start = output.double()
        if model.objective == "pred_noise":
            start = (x - (1 - abar).sqrt() * start) / abar.sqrt()
        start = start.clamp(-30, 30)
        x = (beta * before.sqrt() * start + (1 - before) * (1 - beta).sqrt() * x) / (1 - abar)
        if t > 0:
            x = x + (beta * (1 - before) / (1 - abar)).sqrt() * noises[model.timesteps - 1 - t]
        x = x.float()
    pose = x.view(HYPOTHESES, 3, 16).transpose(1, 2) / 10 * 1000
    pose = torch.cat([(pose[:, :1] + pose[:, 3:4]) / 2, pose], dim=1)
    return pose - pose[:, :1]


def close(a, b, relative=1e-4):
    scale = float(b.abs().max())
    assert float((a - b).abs().max()) <= relative * scale


@pytest.mark.parametrize("network", NETWORKS)
def test_chain_equals_the_plain_one_whatever_the_batch_and_the_chunk(case, network):
    model, inputs = case
    options = {"num_hypotheses": HYPOTHESES, "network": NETWORKS[network](model)}
    plain = torch.stack([plain_chain(model, inputs[i], frame, seed=5) for i, frame in enumerate(FRAMES)])
    zero_noise = []
    for chunk in (0, 2, 16):
        samples = PoseSampler(model, chunk=chunk, **options)(inputs, FrameDraws(5, FRAMES))
        assert samples.hypotheses_mm.shape == (5, HYPOTHESES, 17, 3)
        close(samples.hypotheses_mm, plain)
        zero_noise.append(samples.zero_noise_mm)
    alone = PoseSampler(model, **options)(inputs[2:3], FrameDraws(5, FRAMES[2:3]))
    close(alone.hypotheses_mm[0], plain[2])
    close(alone.zero_noise_mm[0], zero_noise[0][2])
    close(zero_noise[1], zero_noise[0])


def test_seeds_and_frames_give_other_poses_and_equal_ones_the_same(case):
    model, inputs = case
    sampler = build_sampler(model, Config(), num_hypotheses=HYPOTHESES)
    first = sampler(inputs, FrameDraws(5, FRAMES))
    again = sampler(inputs, FrameDraws(5, FRAMES))
    assert torch.equal(first.hypotheses_mm, again.hypotheses_mm)
    assert torch.equal(first.zero_noise_mm, again.zero_noise_mm)
    other = sampler(inputs, FrameDraws(6, FRAMES))
    assert not torch.equal(first.hypotheses_mm, other.hypotheses_mm)
    assert not torch.equal(first.zero_noise_mm, other.zero_noise_mm)


def test_zero_noise_estimate_does_not_depend_on_the_number_of_hypotheses():
    model = build()
    inputs = torch.rand(2, 16, 64, 64, generator=torch.Generator().manual_seed(0)) ** 8
    few, many = (build_sampler(model, Config(), num_hypotheses=n)(inputs, FrameDraws(0, [1, 2])) for n in (1, 9))
    close(few.zero_noise_mm, many.zero_noise_mm, 1e-5)


def test_noise_scale_zero_takes_the_noise_out_of_the_chain():
    inputs = torch.rand(1, 16, 64, 64, generator=torch.Generator().manual_seed(0)) ** 8
    model = build(NOISE_SCALE=0.0, EXTRA={"SAMPLEABLE": False})
    quiet = build_sampler(model, Config(), num_hypotheses=4)(inputs, FrameDraws(0, [1])).hypotheses_mm
    assert float(quiet.std(dim=1).max()) < 1e-3
    model = build(NOISE_SCALE=1.0, EXTRA={"SAMPLEABLE": False})
    loud = build_sampler(model, Config(), num_hypotheses=4)(inputs, FrameDraws(0, [1])).hypotheses_mm
    assert float(loud.std(dim=1).max()) > 1


@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
@pytest.mark.parametrize("variant", ["main", "linear", "shared", "concatenation"])
def test_other_precisions_stay_near(precision, variant):
    model = build(**VARIANTS[variant])
    inputs = torch.rand(2, 16, 64, 64, generator=torch.Generator().manual_seed(0)) ** 8
    exact, near = (
        build_sampler(model, Config(), num_hypotheses=5, precision=name)(inputs, FrameDraws(0, [1, 2])).hypotheses_mm
        for name in ("float32", precision)
    )
    assert near.dtype == torch.float32
    close(near, exact, 0.05)
    assert next(model.parameters()).dtype == torch.float32


def test_flattening_is_axis_major_and_inverted():
    pose = torch.arange(6.0).view(1, 2, 3)
    assert flatten_pose(pose).tolist() == [[0, 3, 1, 4, 2, 5]]
    assert torch.equal(unflatten_pose(flatten_pose(pose)), pose)
