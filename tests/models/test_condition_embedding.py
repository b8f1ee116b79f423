"""The fast condition path against a plain one: dense embeddings, one projection a candidate, nothing shared."""

import itertools
import math

import pytest
import torch

from models.candidates import WholeHeatmaps
from models.condition_embedding import HeatmapEmbedding
from models.heatmap_sampler import HeatmapSampler
from tests.support.helpers import RecordedDraws, deterministic_weights
from utils.errors import DiffPoseError
from utils.randomness import FrameDraws


def plain_channels(x):
    out = torch.zeros(*x.shape, 64)
    for k, center in enumerate(torch.linspace(-1, 1, 64)):
        phase = 8 * math.pi * (x - center)
        out[..., k] = torch.where(phase.abs() <= math.pi / 2, phase.cos() ** 2, torch.zeros_like(phase))
    return out


def plain_sines(x):
    phases = [x * math.exp(-k * math.log(10000) / 31) for k in range(32)]
    return torch.stack([phase.sin() for phase in phases] + [phase.cos() for phase in phases], dim=-1)


def plain_condition(module, positions, likelihood, *, pos_emb, scaled, per_joint, keep=None):
    """Positions (B, H, J, S, 2) and likelihoods (B, H, J, S) -> conditions (B * H, C), step by step."""
    x, y = positions.unbind(-1)
    if pos_emb == "linear":
        embedded = module.pos_encoder(positions)
    else:
        encode = plain_channels if pos_emb == "channel" else plain_sines
        embedded = torch.cat([encode(x), encode(y)], dim=-1)  # (B, H, J, S, 128)
    if keep is not None:
        embedded = embedded * keep[:, None, :, None, None]
    if scaled:
        embedded = embedded * likelihood[..., None]
    if module.pos_proj is not None:
        embedded = module.pos_proj(embedded)
    tokens = embedded.sum(dim=3).flatten(0, 1) + module.joint_embedding(torch.arange(16))
    if module.transformer is not None:
        for layer in module.transformer.layers:
            tokens = layer.norm1(tokens + layer.self_attn(tokens, tokens, tokens)[0])
            tokens = layer.norm2(tokens + layer.linear2(layer.linear1(tokens).relu()))
    if per_joint:
        return sum(module.pos_out(tokens[:, joint]) for joint in range(16))
    return module.pos_out(tokens.reshape(len(tokens), -1))


@pytest.fixture(scope="module")
def heatmaps():
    maps = torch.rand(2, 16, 64, 64, generator=torch.Generator().manual_seed(3)) ** 8
    return maps - 0.05


VARIANTS = list(
    itertools.product(("channel", "sin", "linear"), ("image", "image_half", "mean_std", "mean_std_per_sample"))
)


@torch.no_grad()
@pytest.mark.parametrize(("pos_emb", "norm_method"), VARIANTS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale_by_likelihood": False, "project": False},
        {"use_transformer": False, "per_joint_output": True},
    ],
)
def test_fast_equals_plain(heatmaps, pos_emb, norm_method, options):
    module = deterministic_weights(HeatmapEmbedding(condition_dim=8, pos_emb=pos_emb, layers=2, **options))
    sampler = HeatmapSampler(num_samples=9, norm_method=norm_method, with_argmax=options != {})
    candidates = sampler(heatmaps, 3, FrameDraws(0, [4, 5]))
    plain = plain_condition(
        module,
        candidates.positions,
        candidates.likelihood,
        pos_emb=pos_emb,
        scaled=options.get("scale_by_likelihood", True),
        per_joint=options.get("per_joint_output", False),
    )
    fast = module(candidates.rows())
    assert fast.shape == (6, 128)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))
    parts = torch.cat([module(candidates.rows()[part]) for part in (slice(0, 4), slice(4, 6))])
    torch.testing.assert_close(parts, fast, rtol=1e-5, atol=1e-6 * float(fast.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("pos_emb", ["channel", "sin", "linear"])
@pytest.mark.parametrize("scaled", [True, False])
def test_full_heatmap_equals_all_cells_as_candidates(heatmaps, pos_emb, scaled):
    heatmaps = heatmaps[:1]
    module = deterministic_weights(
        HeatmapEmbedding(condition_dim=8, pos_emb=pos_emb, layers=1, scale_by_likelihood=scaled)
    )
    axis = torch.linspace(-1, 1, 64)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    positions = torch.stack([columns, rows], dim=-1).view(1, 1, 1, 4096, 2).expand(1, 1, 16, -1, -1)
    likelihood = heatmaps.clamp(min=0).flatten(2)[:, None]
    plain = plain_condition(module, positions, likelihood, pos_emb=pos_emb, scaled=scaled, per_joint=False)
    fast = module(WholeHeatmaps(heatmaps))
    torch.testing.assert_close(fast, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


@torch.no_grad()
def test_dropped_joint_loses_its_embedding_before_the_projection(heatmaps):
    module = deterministic_weights(HeatmapEmbedding(condition_dim=8, layers=1, drop_method="any", drop_prob=0.5))
    candidates = HeatmapSampler(num_samples=5)(heatmaps, 1, FrameDraws(0, [0, 1]))
    uniform = torch.rand(2, 16, generator=torch.Generator().manual_seed(0))
    draws, keep = RecordedDraws({"joint_drop": uniform}, frames=[0, 1]), uniform >= 0.5
    plain = plain_condition(
        module, candidates.positions, candidates.likelihood, pos_emb="channel", scaled=True, per_joint=False, keep=keep
    )
    torch.testing.assert_close(module(candidates.rows(), draws), plain, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(module(candidates.rows()), plain, atol=1e-3)


def test_drop_method_any_drops_by_probability_and_uncertain_only_spread_joints(heatmaps):
    uniform = torch.rand(2, 16, generator=torch.Generator().manual_seed(0))
    draws = RecordedDraws({"joint_drop": uniform}, frames=[0, 1])
    maps = torch.zeros(2, 16, 64, 64)
    maps[:, :8, 30, 30] = 1  # certain: one cell
    maps[:, 8:, ::40, ::40] = 1  # uncertain: far apart
    candidates = HeatmapSampler(num_samples=32)(maps, 1, FrameDraws(0, [0, 1])).rows()
    every = HeatmapEmbedding(condition_dim=8, drop_method="any", drop_prob=0.3, layers=1)
    assert torch.equal(every.kept_joints(candidates, draws), uniform >= 0.3)
    uncertain = HeatmapEmbedding(condition_dim=8, drop_method="uncertain", drop_prob=1.0, layers=1)
    spread = candidates.positions[:, 0].flatten(2).std(dim=-1)
    assert torch.equal(uncertain.kept_joints(candidates, draws), spread < 1.0)
    with pytest.raises(DiffPoseError, match="FULL_HEATMAP"):
        uncertain.kept_joints(WholeHeatmaps(maps), draws)


@pytest.mark.parametrize("pos_emb", ["channel", "sin", "linear"])
def test_gradients_reach_every_used_parameter(heatmaps, pos_emb):
    module = HeatmapEmbedding(condition_dim=8, pos_emb=pos_emb, layers=2)
    candidates = HeatmapSampler(num_samples=5)(heatmaps, 2, FrameDraws(0, [0, 1]))
    module(candidates.rows()).square().mean().backward()
    silent = [name for name, value in module.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == ["conf_out.weight", "conf_out.bias"]


def test_unknown_position_embedding_is_an_error():
    with pytest.raises(DiffPoseError, match=r"POS_EMB 'fourier'.*channel, sin, linear"):
        HeatmapEmbedding(condition_dim=8, pos_emb="fourier")
