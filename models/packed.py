"""A trained network as inference wants it: copies in one precision, packed for the processor, without gradients."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.condition_embedding import HeatmapEmbedding
from models.denoiser import Denoiser, ResidualBlock
from models.linear import PackedLinear


class PackedDenoiser(nn.Module):
    """A denoiser's reverse steps: see :class:`models.denoiser.Denoiser`, whose weights at this moment it copies.

    The condition enters the first layer linearly and does not change over the reverse steps: :meth:`condition_share` is
    computed once a hypothesis, :meth:`from_share` once a step.
    """

    def __init__(self, denoiser: Denoiser, dtype: torch.dtype):
        super().__init__()
        self.parts, self.dtype = denoiser.parts, dtype
        weight_x, weight_t, weight_condition = denoiser.upscale.weight.split(denoiser.parts, dim=1)
        self.of_pose = PackedLinear(weight_x, None, dtype)
        self.of_condition = PackedLinear(weight_condition, denoiser.upscale.bias, dtype)
        # t itself stays in float32: bfloat16 has no integers above 256.
        self.register_buffer("weight_t", weight_t.detach().clone().squeeze(1))
        self.blocks = nn.ModuleList(_PackedBlock(block, dtype) for block in (denoiser.res_pose1, denoiser.res_pose2))
        self.pose = _packed(denoiser.pose, dtype)

    def condition_share(self, condition: Tensor) -> Tensor:
        """The part of the first layer that depends on the condition and the bias: (R, C) -> (R, 1024)."""
        return self.of_condition(condition.to(self.dtype))

    def from_share(self, x: Tensor, t: int, share: Tensor) -> Tensor:
        """x_t (..., P), step t and the condition's share (..., 1024), one or many a frame -> float32 (..., P)."""
        time = (t * self.weight_t).to(self.dtype)
        x = x.to(self.dtype)
        if share.shape[:-1] == x.shape[:-1]:
            hidden = self.of_pose(x, bias=time, add=share)
        else:
            hidden = self.of_pose(x, bias=time).add_(share)
        for block in self.blocks:
            hidden = block(hidden)
        return self.pose(hidden).float()


class _PackedBlock(nn.Module):
    """:class:`models.denoiser.ResidualBlock`."""

    def __init__(self, block: ResidualBlock, dtype: torch.dtype):
        super().__init__()
        self.l1, self.l2 = _packed(block.l1, dtype), _packed(block.l2, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.l2(self.l1(x, activation="leaky_relu"), activation="leaky_relu").add_(x)


class PackedEncoderLayer(nn.Module):
    """A post-norm nn.TransformerEncoderLayer with ReLU, for inference: tokens (R, J, W) -> (R, J, W)."""

    def __init__(self, layer: nn.TransformerEncoderLayer, dtype: torch.dtype):
        super().__init__()
        attention = layer.self_attn
        self.heads = attention.num_heads
        self.into = PackedLinear(attention.in_proj_weight, attention.in_proj_bias, dtype)
        self.out = _packed(attention.out_proj, dtype)
        self.linear1, self.linear2 = _packed(layer.linear1, dtype), _packed(layer.linear2, dtype)
        self.norm1, self.norm2 = (copy.deepcopy(norm).to(dtype) for norm in (layer.norm1, layer.norm2))

    def forward(self, tokens: Tensor) -> Tensor:
        rows, joints, width = tokens.shape
        x = tokens.reshape(-1, width)
        query, key, value = self.into(x).view(rows, joints, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = _attention(query, key, value).transpose(1, 2).reshape(-1, width)  # (R * J, W)
        x = self.norm1(self.out(seen, add=x))
        x = self.norm2(self.linear2(self.linear1(x, activation="relu"), add=x))
        return x.view(rows, joints, width)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention, each (R, heads, J, W / heads)."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # For 16 tokens the fused kernel takes half as long again.
        return ((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)).softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value)


def packed_condition(embedding: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a condition embedding in one precision; buffers (the grid's centres) keep theirs."""
    ours = copy.deepcopy(embedding).requires_grad_(False).eval()
    buffers = dict(ours.named_buffers())
    ours = ours.to(dtype)
    for name, buffer in buffers.items():
        owner, _, attribute = name.rpartition(".")
        ours.get_submodule(owner).register_buffer(attribute, buffer)
    if isinstance(ours, HeatmapEmbedding):
        ours.pos_out = _packed(embedding.pos_out, dtype)
        if embedding.transformer is not None:
            ours.transformer = nn.Sequential(
                *(PackedEncoderLayer(layer, dtype) for layer in embedding.transformer.layers)
            )
    return ours


def _packed(layer: nn.Linear, dtype: torch.dtype) -> PackedLinear:
    return PackedLinear(layer.weight, layer.bias, dtype)
