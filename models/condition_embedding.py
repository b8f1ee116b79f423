"""Joint candidates -> condition vectors: the embedding transformer, concatenation, and the plain 2D pose."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.fast.attention import SelfAttention
from models.fast.dropout import CheapDropout
from models.fast.linear import Linear
from models.heatmap_sampler import Candidates
from utils.errors import DiffPoseError
from utils.skeleton import HEATMAP_SIZE, NUM_HEATMAPS

AXIS_WIDTH = 64
WIDTH = 2 * AXIS_WIDTH


@dataclass(frozen=True)
class SharedInput:
    """One condition input an item, shared by all hypotheses: whole heatmaps (B, J, 64, 64) or 2D poses (B, P)."""

    values: Tensor

    def __getitem__(self, items: slice) -> "SharedInput":
        return SharedInput(self.values[items])

    def rows(self) -> "SharedInput":
        return self


class ChannelEncoding(nn.Module):
    """A coordinate as soft one-hot channels: cos^2(8 pi (x - c_k)) within a quarter period of centre c_k, else 0."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centers", torch.linspace(-1, 1, AXIS_WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (..., 64)."""
        phase = 8 * math.pi * (x.unsqueeze(-1) - self.centers)
        return torch.where(phase.abs() <= math.pi / 2, phase.cos() ** 2, 0.0)


class SinusoidalEncoding(nn.Module):
    """A coordinate as sines, then cosines, of 32 frequencies exp(-k ln(10000) / 31)."""

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (..., 64)."""
        half = AXIS_WIDTH // 2
        exponent = torch.arange(half, device=x.device, dtype=x.dtype) * (-math.log(10000) / (half - 1))
        phase = x.unsqueeze(-1) * exponent.exp()
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


def _linear_encoding() -> nn.Sequential:
    """A learned embedding of the (x, y) pair: (..., 2) -> (..., 128)."""
    return nn.Sequential(
        nn.Linear(2, 512),
        nn.LeakyReLU(),
        nn.Linear(512, 1024),
        nn.LeakyReLU(),
        nn.Linear(1024, 512),
        nn.LeakyReLU(),
        nn.Linear(512, WIDTH),
    )


class HeatmapEmbedding(nn.Module):
    """The embedding transformer: each joint's candidates become a token, 16 tokens become the condition.

    token_j = sum_i (W l_i e(x_i, y_i) + b) + joint embedding, with candidate positions (x_i, y_i) and likelihoods l_i.
    The sum is linear, so W is applied once after it; and on the grid the sum is a likelihood-weighted histogram of
    columns and rows times the 64 embeddings that exist on an axis.

    ``pos_emb``: channel, sin or linear. ``drop_method``: any, uncertain or none: in training a joint's whole embedding
    is zeroed with ``drop_prob``. ``per_joint_output`` (OLD): one Linear a token, summed, in place of one for all.
    """

    def __init__(
        self,
        *,
        condition_dim: int,
        pos_emb: str = "channel",
        scale_by_likelihood: bool = True,
        project: bool = True,
        use_transformer: bool = True,
        per_joint_output: bool = False,
        drop_method: str = "none",
        drop_prob: float = 0.1,
        layers: int = 4,
        num_joints: int = NUM_HEATMAPS,
    ):
        super().__init__()
        encoders = {"channel": ChannelEncoding, "sin": SinusoidalEncoding, "linear": _linear_encoding}
        if pos_emb not in encoders:
            raise DiffPoseError(f"unknown MODEL.EXTRA.POS_EMB '{pos_emb}': it is one of {', '.join(encoders)}")
        self.pos_proj = nn.Linear(WIDTH, WIDTH) if project else None
        self.pos_encoder = encoders[pos_emb]()
        self.separable = pos_emb != "linear"
        self.scale_by_likelihood = scale_by_likelihood
        self.per_joint_output = per_joint_output
        self.drop_method = drop_method
        self.drop_prob = drop_prob
        self.joint_embedding = nn.Embedding(num_joints, WIDTH)
        self.transformer = None
        if use_transformer:
            layer = nn.TransformerEncoderLayer(WIDTH, 4, dim_feedforward=512, dropout=0.1, batch_first=True)
            layer.self_attn = SelfAttention.around(layer.self_attn)
            layer.linear1, layer.linear2 = Linear.around(layer.linear1), Linear.around(layer.linear2)
            layer.dropout, layer.dropout1, layer.dropout2 = (CheapDropout(0.1) for _ in range(3))
            self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        # In every published state dict, used by none of its models.
        self.conf_out = nn.Linear(WIDTH, 1)
        self.pos_out = Linear(WIDTH if per_joint_output else WIDTH * num_joints, NUM_HEATMAPS * condition_dim)

    def forward(self, candidates: Candidates | SharedInput, keep: Tensor | None = None) -> Tensor:
        """Candidate rows (R, 1, J, S), or whole heatmaps (R, J, 64, 64), -> conditions (R, 16 * condition_dim).

        ``keep``: (R, J), False where a joint's embedding is dropped.
        """
        if isinstance(candidates, SharedInput):
            tokens, count = self._sum_of_map(candidates.values), HEATMAP_SIZE**2
        else:
            tokens, count = self._sum_of_candidates(candidates), candidates.cells.shape[-1]
        tokens = tokens.to(self.pos_out.weight.dtype)
        if keep is not None:
            tokens = tokens * keep.unsqueeze(-1)
        if self.pos_proj is not None:
            tokens = F.linear(tokens, self.pos_proj.weight) + count * self.pos_proj.bias
        tokens = tokens + self.joint_embedding.weight
        if self.transformer is not None:
            tokens = self.transformer(tokens)
        if self.per_joint_output:
            # sum_j (W t_j + b) = W sum_j t_j + J b
            return F.linear(tokens.sum(1), self.pos_out.weight) + tokens.shape[1] * self.pos_out.bias
        return self.pos_out(tokens.flatten(1))

    def kept_joints(self, candidates: Candidates | SharedInput, uniform: Tensor) -> Tensor:
        """Which joints stay in a training step, (B, J), from ``uniform`` numbers (B, J)."""
        keep = uniform >= self.drop_prob
        if self.drop_method == "uncertain":
            if isinstance(candidates, SharedInput):
                raise DiffPoseError("DROP_METHOD uncertain needs drawn candidates: it can't go with FULL_HEATMAP")
            spread = candidates.positions.flatten(3).std(dim=-1)[:, 0]  # (B, J)
            keep = keep | (spread < 1.0)
        return keep

    def _sum_of_candidates(self, candidates: Candidates) -> Tensor:
        """sum_i l_i e(x_i, y_i) for each joint: (R, 1, J, S) -> (R, J, 128)."""
        cells = candidates.cells.squeeze(1)
        weights = candidates.likelihood.squeeze(1)
        if not self.scale_by_likelihood:
            weights = torch.ones_like(weights)
        if not candidates.on_grid:
            x, y = candidates.positions.squeeze(1).unbind(-1)
            encoded = self._encode(x, y)
            return torch.einsum("rjs,rjsd->rjd", weights.to(encoded.dtype), encoded)
        if not self.separable:
            table = self._cell_table(candidates.grid)
            bags, samples = cells.flatten(0, 1), weights.flatten(0, 1).to(table.dtype)
            summed = F.embedding_bag(bags, table, per_sample_weights=samples, mode="sum")
            return summed.view(*cells.shape[:2], WIDTH)
        # One histogram of columns and rows side by side: (R, J, 128).
        histogram = weights.new_zeros(*weights.shape[:2], 2 * HEATMAP_SIZE)
        histogram.scatter_add_(-1, cells % HEATMAP_SIZE, weights)
        histogram.scatter_add_(-1, HEATMAP_SIZE + cells // HEATMAP_SIZE, weights)
        return self._embed_axes(histogram, candidates.grid)

    def _sum_of_map(self, heatmaps: Tensor) -> Tensor:
        """The same with all 4096 cells as candidates: (R, J, 64, 64) -> (R, J, 128)."""
        weights = heatmaps.float().clamp(min=0)
        if not self.scale_by_likelihood:
            weights = torch.ones_like(weights)
        grid = torch.linspace(-1, 1, HEATMAP_SIZE, device=weights.device)
        if not self.separable:
            return weights.flatten(2) @ self._cell_table(grid).to(weights.dtype)
        return self._embed_axes(torch.cat([weights.sum(2), weights.sum(3)], dim=-1), grid)

    def _embed_axes(self, histogram: Tensor, grid: Tensor) -> Tensor:
        """Weights of columns and rows (R, J, 64 + 64) -> (R, J, 128)."""
        table = self.pos_encoder(grid)  # (64, 64)
        columns, rows = histogram.split(HEATMAP_SIZE, dim=-1)
        return torch.cat([columns.to(table.dtype) @ table, rows.to(table.dtype) @ table], dim=-1)

    def _encode(self, x: Tensor, y: Tensor) -> Tensor:
        """Positions (...) each -> embeddings (..., 128), x part first."""
        if self.separable:
            return torch.cat([self.pos_encoder(x), self.pos_encoder(y)], dim=-1)
        weight = self.pos_encoder[0].weight
        return self.pos_encoder(torch.stack([x, y], dim=-1).to(weight.dtype))

    def _cell_table(self, grid: Tensor) -> Tensor:
        """The embedding of every cell, (4096, 128)."""
        y, x = torch.meshgrid(grid, grid, indexing="ij")
        return self._encode(x.flatten(), y.flatten())


class CandidateConcatenation(nn.Module):
    """Baseline: the candidates themselves, candidate-major (candidate, joint, then x, y and maybe the likelihood)."""

    def __init__(self, *, with_likelihood: bool = False):
        super().__init__()
        self.with_likelihood = with_likelihood

    def forward(self, candidates: Candidates) -> Tensor:
        """Candidate rows (R, 1, J, S) -> (R, S * J * 2), or S * J * 3 with likelihoods."""
        numbers = candidates.positions
        if self.with_likelihood:
            numbers = torch.cat([numbers, candidates.likelihood.unsqueeze(-1)], dim=-1)
        return numbers.squeeze(1).transpose(1, 2).flatten(1)


class PoseCondition(nn.Module):
    """The normalised 2D pose itself, (R, P) -> (R, P)."""

    def forward(self, pose: SharedInput) -> Tensor:
        return pose.values
