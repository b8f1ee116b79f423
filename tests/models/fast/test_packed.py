"""The packed network computes what the trained one does; attention with cheap dropout what PyTorch's does."""

import pytest
import torch
from torch import nn

from models.candidates import Poses2D, WholeHeatmaps
from models.condition_embedding import CandidateConcatenation, HeatmapEmbedding, PoseCondition
from models.denoiser import Denoiser
from models.fast.attention import SelfAttention
from models.fast.packed import PackedCondition, PackedDenoiser, PackedEncoderLayer
from models.heatmap_sampler import HeatmapSampler
from tests.support.helpers import deterministic_weights
from utils.randomness import FrameDraws

pytestmark = pytest.mark.usefixtures("narrow")

PRECISIONS = [(torch.float32, 1e-5), (torch.bfloat16, 0.03)]


def close(a, b, relative):
    assert float((a.float() - b).abs().max()) <= relative * float(b.abs().max())


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("t", [0, 24, 999])
@torch.no_grad()
def test_denoiser(dtype, tolerance, t):
    torch.manual_seed(0)
    denoiser = deterministic_weights(Denoiser(pose_dim=48, condition_dim=64))
    denoiser.upscale.weight[:, 48] /= 100  # of t, which would drown the rest
    packed = PackedDenoiser(denoiser, dtype)
    x, condition = torch.randn(2, 5, 48), torch.randn(2, 5, 64)
    share = PackedCondition(nn.Identity(), denoiser, dtype)(condition)
    expected = denoiser(x.flatten(0, 1), torch.full((10,), t), condition.flatten(0, 1)).view(2, 5, 48)
    found = packed.from_share(x, t, share)
    assert found.dtype == torch.float32
    close(found, expected, tolerance)
    shared = packed.from_share(x, t, share[:, :1])  # one condition for all hypotheses
    close(shared[:, 0], expected[:, 0], tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@torch.no_grad()
def test_transformer(dtype, tolerance):
    embedding = deterministic_weights(HeatmapEmbedding(condition_dim=4, layers=2))
    packed = nn.Sequential(*(PackedEncoderLayer(layer, dtype) for layer in embedding.transformer.layers))
    tokens = torch.randn(6, 16, 128, generator=torch.Generator().manual_seed(0))
    close(packed(tokens.to(dtype)), embedding.transformer(tokens), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(
    "kind",
    ["main", "narrow", "without transformer", "sin", "linear", "output layer a joint", "whole maps", "pose", "pairs"],
)
@torch.no_grad()
def test_share_of_the_condition(dtype, tolerance, kind):
    """The share is the first two layers' part of the condition, whatever the condition is made from."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(5, 16, 64, 64, generator=generator)
    rows = HeatmapSampler(num_samples=8)(maps, 1, FrameDraws(0, range(5))).rows()
    dim = 4 if kind == "narrow" else 32
    options = {
        "without transformer": {"use_transformer": False},
        "sin": {"pos_emb": "sin"},
        "linear": {"pos_emb": "linear"},
        "output layer a joint": {"per_joint_output": True},
    }
    embedding, width = HeatmapEmbedding(condition_dim=dim, layers=1, **options.get(kind, {})), 16 * dim
    if kind == "whole maps":
        rows = WholeHeatmaps(maps / 4096)
    elif kind == "pose":
        embedding, rows, width = PoseCondition(), Poses2D(torch.randn(5, 32, generator=generator)), 32
    elif kind == "pairs":
        embedding, width = CandidateConcatenation(), 8 * 16 * 2
    embedding = deterministic_weights(embedding)
    denoiser = deterministic_weights(Denoiser(pose_dim=48, condition_dim=width))
    packed = PackedCondition(embedding, denoiser, dtype)
    assert (packed.share is None) == (kind not in ("narrow", "output layer a joint", "pose", "pairs"))
    share = packed(rows)
    first = denoiser.upscale(torch.cat([torch.zeros(5, 49), embedding(rows)], dim=1))
    assert share.dtype == dtype
    close(share, torch.cat([first, denoiser.res_pose1.l1(first)], dim=1), tolerance)
    assert all(parameter.dtype == torch.float32 for parameter in embedding.parameters())


def test_attention_without_dropout_is_pytorchs():
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(32, 4, dropout=0.0, batch_first=True)
    ours = SelfAttention.around(theirs)
    results = []
    for attention in (ours, theirs):
        x = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(1), requires_grad=True)
        attention.zero_grad()
        y, _ = attention.train()(x, x, x, need_weights=False)
        y.square().sum().backward()
        results.append([y, x.grad, attention.in_proj_weight.grad.clone(), attention.out_proj.bias.grad.clone()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]


def test_attention_drops_in_training_only():
    attention = SelfAttention(32, 4, dropout=0.5, batch_first=True)
    x = torch.randn(3, 5, 32)
    with torch.no_grad():
        first, second = (attention(x, x, x)[0] for _ in range(2))
        assert not torch.equal(first, second)
        attention.eval()
        first, second = (attention(x, x, x)[0] for _ in range(2))
    assert torch.equal(first, second)
