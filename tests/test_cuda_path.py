"""What runs on CUDA, checked without one: on pretended tensors, not of the CPU, every operation has to find all of its
operands on the same device, and nothing may ask for a number, which would make the host wait. And, where there is a
GPU, on it.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from models import build_model, build_sampler
from tests.support.helpers import ROOT
from utils.cell_lists import CellLists
from utils.config import change_config, load_config
from utils.evaluation.frame_scores import score_frames
from utils.randomness import FrameDraws

pytestmark = pytest.mark.usefixtures("narrow")

# A device of no kind that our code knows: like CUDA, it is not the CPU.
DEVICE = "meta"
B, H = 4, 6
CONFIGS = {
    "main": (),
    "sin": ("MODEL.EXTRA.POS_EMB=sin",),
    "linear": ("MODEL.EXTRA.POS_EMB=linear",),
    "uncertain": ("MODEL.EXTRA.DROP_METHOD=uncertain",),
    "no_transformer": ("MODEL.EXTRA.WITHOUT_TRANSFORMER=true",),
    "full_heatmap": ("MODEL.EXTRA.FULL_HEATMAP=true",),
    "concatenation": (
        "MODEL.CONDITION_TYPE=heatmap_sampling_concatenated",
        "MODEL.CONDITION_DIM=-1",
        "MODEL.DENOISER_TYPE=base_concat",
        "MODEL.EXTRA.CONCAT_LIKELIHOOD=true",
        "MODEL.EXTRA.CONDITION_ORDERED_SAMPLES=true",
    ),
}


def configuration(*settings):
    return change_config(load_config(ROOT / "diffpose.yaml"), ["MODEL.TIMESTEPS=3", *settings])


class PretendedDraws:
    """Draws on the pretended device, which has no generators."""

    def uniform(self, purpose, *shape):
        return torch.rand(B, *shape, device=DEVICE)

    def normal(self, purpose, *shape):
        return torch.randn(B, *shape, device=DEVICE)

    def normals(self, purpose, count, *shape):
        return (self.normal(purpose, *shape) for _ in range(count))

    def integers(self, purpose, high):
        return torch.randint(high, (B,), device=DEVICE)

    def part(self, frames):
        return self


@pytest.fixture
def pretended():
    """A context in which tensors are pretended; models are made before it."""
    return FakeTensorMode()


def on_device(module):
    """A module whose parameters and buffers are pretended ones, in place."""
    for part in module.modules():
        for values in (part._parameters, part._buffers):
            for name, value in values.items():
                if value is not None:
                    empty = torch.empty(value.shape, dtype=value.dtype, device=DEVICE)
                    is_weight = isinstance(value, nn.Parameter)
                    values[name] = nn.Parameter(empty, requires_grad=value.requires_grad) if is_weight else empty
    return module


def test_the_check_itself_finds_what_it_looks_for(pretended):
    with pretended:
        x = torch.empty(3, device=DEVICE)
        with pytest.raises(DataDependentOutputException):
            x.sum().item()
        with pytest.raises(RuntimeError, match="two devices"):
            x + torch.ones(3)


def maps():
    return torch.empty(B, 16, 64, 64, dtype=torch.float16, device=DEVICE)


def lists():
    """Cell lists of 9 rows with 50 cells each."""
    places = 9 * 16
    one = torch.zeros(places * 50, device=DEVICE)
    return CellLists(
        cells=one.to(torch.int16),
        values=one.half(),
        cumulative=one,
        num_joints=16,
        starts=torch.zeros(places + 1, dtype=torch.int64, device=DEVICE),
        peaks=torch.zeros(places, dtype=torch.int64, device=DEVICE),
        items=torch.zeros(B, dtype=torch.int64, device=DEVICE),
    )


@pytest.mark.parametrize("inputs", [maps, lists])
@pytest.mark.parametrize("name", CONFIGS)
def test_training_step_stays_on_the_device(pretended, name, inputs):
    if inputs is lists and name == "full_heatmap":
        pytest.skip("refused by the configuration")
    model = build_model(configuration(*CONFIGS[name])).train()
    with pretended:
        loss = on_device(model).loss(torch.empty(B, 16, 3, device=DEVICE), inputs(), PretendedDraws())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert loss.shape == ()
    assert loss.device.type == DEVICE
    assert model.denoise_fn.pose.weight.grad.device.type == DEVICE


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_sampling_stays_on_the_device(pretended, name, precision):
    config = configuration(*CONFIGS[name])
    sampler = build_sampler(build_model(config), config, num_hypotheses=H, precision=precision)
    with pretended:
        for part in (sampler.model, sampler.network):
            on_device(part)
        samples = sampler(maps(), PretendedDraws())
    assert samples.hypotheses_mm.shape == (B, H, 17, 3)
    assert samples.hypotheses_mm.device.type == samples.zero_noise_mm.device.type == DEVICE


# --- with a GPU


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
def test_sampling_and_scores_equal_those_of_the_cpu(monkeypatch):
    model = build_model(configuration())
    inputs = torch.rand(B, 16, 64, 64, generator=torch.Generator().manual_seed(0)) ** 8
    truth = torch.randn(B, 17, 3)

    draws = FrameDraws(0, range(B))
    drawn = {
        purpose: model.draw_condition_input(inputs, count, draws, purpose=purpose)
        for purpose, count in (("candidates", H), ("zero_noise_candidates", 1))
    }

    class SameDraws(FrameDraws):
        """The CPU's numbers, on another device."""

        def normals(self, *arguments):
            return (noise.to(self.device) for noise in FrameDraws(self.seed, self.frames).normals(*arguments))

    def same_candidates(maps, count, draws, *, purpose="candidates"):
        """A running sum rounds otherwise on a GPU, and may turn a candidate."""
        found = drawn[purpose]
        names = ("cells", "likelihood", "center", "scale")
        return replace(found, **{name: getattr(found, name).to(maps.device) for name in names})

    monkeypatch.setattr(model, "draw_condition_input", same_candidates)
    results = []
    for device in ("cpu", "cuda"):
        sampler = build_sampler(model.to(device), configuration(), num_hypotheses=H)
        samples = sampler(inputs.to(device), SameDraws(0, range(B), device=device))
        scores = score_frames(samples.hypotheses_mm, None, truth.to(device), model.skeleton)
        results.append((samples.hypotheses_mm.cpu(), scores.scores["best"]))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-3, atol=0.5)
    assert abs(results[1][1] - results[0][1]).max() < 1
