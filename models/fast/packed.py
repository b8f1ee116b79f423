"""A trained network as inference wants it: a copy in one precision, packed for the processor, without gradients."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.candidates import ConditionInput
from models.condition_embedding import HeatmapEmbedding
from models.denoiser import Denoiser
from models.diffusion import GaussianDiffusion
from models.fast.linear import PackedLinear
from utils.precision import PRECISIONS, float32_products


class InferenceNetwork(nn.Module):
    """A diffusion model's condition and denoiser for sampling, copied from the weights that it has at this moment.

    A condition is given as its share of the denoiser's first layers, (R, 2048).
    ``precision``: float32, tf32, bfloat16 or float16.
    """

    def __init__(self, model: GaussianDiffusion, precision: str):
        super().__init__()
        self.precision, self.dtype = precision, PRECISIONS[precision]
        self.denoiser = PackedDenoiser(model.denoise_fn, self.dtype)
        self.embedding = PackedCondition(model.condition_emb, model.denoise_fn, self.dtype)

    def condition(self, rows: ConditionInput) -> Tensor:
        """Rows of what the condition is made from -> (R, 2048)."""
        with float32_products(self.precision):
            return self.embedding(rows)

    def denoise(self, x: Tensor, t: int, condition: Tensor) -> Tensor:
        """The denoiser's output at step t: x_t (..., H, P), shares (..., H or 1, 2048) -> float32 (..., H, P)."""
        with float32_products(self.precision):
            return self.denoiser.from_share(x, t, condition)


class PackedDenoiser(nn.Module):
    """A denoiser's reverse steps: see :class:`models.denoiser.Denoiser`, whose weights at this moment it copies.

    No activation stands between the first layer and the first block's first: both are linear in (x_t, t, condition).
    So they are computed side by side, and the condition's share of both once for each hypothesis
    (:class:`PackedCondition`): a step has three products of 1024 x 1024 in place of four.
    """

    def __init__(self, denoiser: Denoiser, dtype: torch.dtype):
        super().__init__()
        self.pose_dim, self.dtype = denoiser.parts[0], dtype
        weight, _ = _first_layers(denoiser)
        weight_x, weight_t, _ = weight.split(denoiser.parts, dim=1)
        self.of_pose = PackedLinear(weight_x, None, dtype)
        # t itself stays in float32: bfloat16 has no integers above 256.
        self.register_buffer("weight_t", weight_t.squeeze(1).float())
        first, second = denoiser.res_pose1, denoiser.res_pose2
        self.first_l2 = _packed(first.l2, dtype)
        self.second_l1, self.second_l2 = _packed(second.l1, dtype), _packed(second.l2, dtype)
        self.pose = _packed(denoiser.pose, dtype)

    def from_share(self, x: Tensor, t: int, share: Tensor) -> Tensor:
        """x_t (..., H, P), step t and the condition's share (..., H or 1, 2048) -> float32 (..., H, P)."""
        time = (t * self.weight_t).to(self.dtype)
        x = x.to(self.dtype)
        if share.shape[:-1] == x.shape[:-1]:
            both = self.of_pose(x, bias=time, add=share)
        else:
            both = self.of_pose(x, bias=time).add_(share)
        hidden, inner = both.chunk(2, dim=-1)
        hidden = self.first_l2(F.leaky_relu(inner), activation="leaky_relu").add_(hidden)
        inner = self.second_l1(hidden, activation="leaky_relu")
        hidden = self.second_l2(inner, activation="leaky_relu").add_(hidden)
        return self.pose(hidden).float()


@torch.no_grad()
def _first_layers(denoiser: Denoiser) -> tuple[Tensor, Tensor]:
    """The first layer, and under it the first block's first after it: (2048, P + 1 + C) and (2048,) float64."""
    weight, bias = denoiser.upscale.weight.double(), denoiser.upscale.bias.double()
    inner = denoiser.res_pose1.l1
    weights = torch.cat([weight, inner.weight.double() @ weight])
    return weights, torch.cat([bias, inner.weight.double() @ bias + inner.bias.double()])


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


class PackedCondition(nn.Module):
    """A condition embedding and the condition's share of the denoiser's first layers, in one."""

    def __init__(self, embedding: nn.Module, denoiser: Denoiser, dtype: torch.dtype):
        super().__init__()
        weight, bias = _first_layers(denoiser)
        weight = weight[:, -denoiser.parts[-1] :]
        self.embedding = _packed_embedding(embedding, dtype)
        self.dtype, self.share = dtype, None
        is_linear = isinstance(embedding, HeatmapEmbedding) and not embedding.per_joint_output
        last = embedding.pos_out if is_linear else None
        # Two linear layers in a row are one, which is less work unless the condition between them is narrow.
        if is_linear and len(weight) * last.in_features <= weight.numel() + last.weight.numel():
            with torch.no_grad():
                weight, bias = weight @ last.weight.double(), weight @ last.bias.double() + bias
            self.embedding.pos_out = PackedLinear(weight, bias, dtype)
        else:
            self.share = PackedLinear(weight, bias, dtype)

    def forward(self, rows: object) -> Tensor:
        """What the embedding takes -> (R, 2048)."""
        outputs = self.embedding(rows)
        return outputs if self.share is None else self.share(outputs.to(self.dtype))


def _packed_embedding(embedding: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a condition embedding in one precision; buffers (the grid's centres) keep theirs."""
    ours = copy.deepcopy(embedding).requires_grad_(False).eval()
    buffers = dict(ours.named_buffers())
    ours = ours.to(dtype)
    for name, buffer in buffers.items():
        owner, _, attribute = name.rpartition(".")
        ours.get_submodule(owner).register_buffer(attribute, buffer)
    if isinstance(ours, HeatmapEmbedding) and embedding.transformer is not None:
        layers = (PackedEncoderLayer(layer, dtype) for layer in embedding.transformer.layers)
        ours.transformer = nn.Sequential(*layers)
    return ours


def _packed(layer: nn.Linear, dtype: torch.dtype) -> PackedLinear:
    return PackedLinear(layer.weight, layer.bias, dtype)
