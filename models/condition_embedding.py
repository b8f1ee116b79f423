"""Joint candidates -> condition vectors: the embedding transformer, concatenation, and the plain 2D pose."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.candidates import Candidates, Draws, Poses2D, WholeHeatmaps
from utils.errors import DiffPoseError
from utils.skeleton import HEATMAP_SIZE, NUM_HEATMAPS

AXIS_WIDTH = 64
WIDTH = 2 * AXIS_WIDTH


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
    The sum over candidates is linear, so W is applied once, after it. On the heatmap grid an axis has 64 different
    positions only, so the sum is a likelihood-weighted histogram of columns and rows times their 64 embeddings.

    ``pos_emb``: channel, sin or linear. ``drop_method``: any, uncertain or none: in training the whole embedding of a
    joint is zeroed with probability ``drop_prob``; with uncertain only of joints whose candidates are far apart.
    ``per_joint_output`` (EXTRA.OLD): the same output layer for each token, summed, in place of one layer for all tokens
    together.
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
            self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        # In every published state dict, used by none of its models.
        self.conf_out = nn.Linear(WIDTH, 1)
        self.pos_out = nn.Linear(WIDTH if per_joint_output else WIDTH * num_joints, NUM_HEATMAPS * condition_dim)

    @staticmethod
    def undrawn(heatmaps: Tensor) -> WholeHeatmaps:
        """What is embedded where no candidates are drawn: heatmaps (B, J, 64, 64) with all of their cells."""
        return WholeHeatmaps(heatmaps)

    def forward(self, candidates: Candidates | WholeHeatmaps, draws: Draws | None = None) -> Tensor:
        """R rows of candidates for J joints -> conditions (R, 16 * condition_dim).

        ``draws``: the random numbers of a training step, which decide the joints that are dropped; None drops none.
        """
        tokens = self._summed_embeddings(candidates).to(self.pos_out.weight.dtype)  # (R, J, 128)
        if draws is not None and self.drop_method != "none":
            tokens = tokens * self.kept_joints(candidates, draws).unsqueeze(-1)
        if self.pos_proj is not None:
            # sum_i (W e_i + b) = W sum_i e_i + S b
            tokens = F.linear(tokens, self.pos_proj.weight) + candidates.count * self.pos_proj.bias
        tokens = tokens + self.joint_embedding.weight
        if self.transformer is not None:
            tokens = self.transformer(tokens)
        if self.per_joint_output:
            # sum_j (W t_j + b) = W sum_j t_j + J b
            return F.linear(tokens.sum(1), self.pos_out.weight) + tokens.shape[1] * self.pos_out.bias
        return self.pos_out(tokens.flatten(1))

    def kept_joints(self, candidates: Candidates | WholeHeatmaps, draws: Draws) -> Tensor:
        """Which joints of R rows keep their embedding in a training step, (R, J).

        Raises DiffPoseError for DROP_METHOD uncertain without drawn candidates.
        """
        keep = draws.uniform("joint_drop", self.joint_embedding.num_embeddings) >= self.drop_prob
        if self.drop_method == "uncertain":
            keep = keep | (candidates.spread() < 1.0)
        return keep

    def _summed_embeddings(self, candidates: Candidates | WholeHeatmaps) -> Tensor:
        """sum_i l_i e(x_i, y_i) for each joint, (R, J, 128)."""
        weights = candidates.weights
        if not self.scale_by_likelihood:
            weights = torch.ones_like(weights)
        if not candidates.on_grid:
            x, y = candidates.positions.squeeze(1).unbind(-1)  # (R, J, S)
            encoded = self._encode(x, y)  # (R, J, S, 128)
            return torch.einsum("rjs,rjsd->rjd", weights.to(encoded.dtype), encoded)
        if not self.separable:
            return candidates.sum_over_cells(self._cell_table(candidates.grid), weights)
        return self._embed_axes(candidates.axis_histograms(weights), candidates.grid)

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

    def forward(self, candidates: Candidates, draws: Draws | None = None) -> Tensor:
        """Candidate rows (R, 1, J, S) -> (R, S * J * 2), or S * J * 3 with likelihoods. ``draws`` is not used."""
        numbers = candidates.positions
        if self.with_likelihood:
            numbers = torch.cat([numbers, candidates.likelihood.unsqueeze(-1)], dim=-1)
        return numbers.squeeze(1).transpose(1, 2).flatten(1)


class PoseCondition(nn.Module):
    """The normalised 2D pose itself, (R, P) -> (R, P)."""

    @staticmethod
    def undrawn(poses: Tensor) -> Poses2D:
        """What is embedded: the 2D poses (B, P) as they are."""
        return Poses2D(poses)

    def forward(self, poses: Poses2D, draws: Draws | None = None) -> Tensor:
        """(R, P); ``draws`` is not used."""
        return poses.values
