"""Self-attention among a few tokens."""

import torch
from torch import Tensor, nn

from models.fast.dropout import CheapDropout
from models.fast.linear import linear


class SelfAttention(nn.MultiheadAttention):
    """nn.MultiheadAttention among tokens (R, J, W), with a dropout that costs little on a CPU.

    In evaluation, on other devices and with masks it is nn.MultiheadAttention itself.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **options) -> tuple[Tensor, Tensor | None]:
        """(R, J, W) three times the same -> (R, J, W), and no attention weights."""
        masked = any(options.get(name) is not None for name in ("attn_mask", "key_padding_mask"))
        if not self.training or query.device.type != "cpu" or masked or query is not key or key is not value:
            return super().forward(query, key, value, **options)
        rows, tokens, _ = query.shape
        projected = linear(query, self.in_proj_weight, self.in_proj_bias)
        query, key, value = projected.view(rows, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        scores = (query * self.head_dim**-0.5) @ key.transpose(-1, -2)  # (R, heads, J, J)
        weights = CheapDropout(self.dropout)(scores.softmax(-1))
        seen = (weights @ value).transpose(1, 2).flatten(2)  # (R, J, W)
        return linear(seen, self.out_proj.weight, self.out_proj.bias), None

    @classmethod
    def around(cls, attention: nn.MultiheadAttention) -> "SelfAttention":
        """The same attention, sharing its parameters; tokens come as (R, J, W)."""
        with torch.device("meta"):  # without drawing weights
            ours = cls(attention.embed_dim, attention.num_heads, dropout=attention.dropout, batch_first=True)
        ours.in_proj_weight, ours.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        ours.out_proj = attention.out_proj
        return ours
