"""Linear layers that a CPU computes with oneDNN: for training and, with packed weights, for inference.

PyTorch leaves float32 products to a library that is slow on some processors. oneDNN's products are faster, even more so
when the weights are stored in the order in which its kernels read them, and it adds and activates while the values are
in registers. The operators are PyTorch's own but not public: where they are missing or compute something else, and on
other devices, the same is computed step by step.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAKY_SLOPE = 0.01
# PyTorch's own product is slower for a weight's gradient when the width is not a multiple of this (an input of 2097,
# for example), or when there are no more rows than this.
ALIGNED, FEW_ROWS = 16, 256


class _OneDnnLinear(torch.autograd.Function):
    """F.linear in float32, forward and backward with oneDNN."""

    @staticmethod
    def forward(context, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        context.save_for_backward(x, weight)
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        wanted = context.needs_input_grad
        rows, gradients = x.flatten(0, -2), gradient.flatten(0, -2)
        by_input = by_weight = None
        if wanted[0]:
            by_input = torch.ops.mkldnn._linear_pointwise(gradient, weight.t(), None, "none", [], "")
        if wanted[1] and (weight.shape[1] % ALIGNED or len(rows) <= FEW_ROWS):
            by_weight = torch.ops.mkldnn._linear_pointwise(gradients.t(), rows.t(), None, "none", [], "")
        elif wanted[1]:
            by_weight = gradients.t() @ rows
        return by_input, by_weight, gradients.sum(0) if wanted[2] else None


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """F.linear, (..., in) -> (..., out), whose float32 training step on a CPU is oneDNN's."""
    ours = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.dim() > 1 and x.numel() > 0
    if ours and not torch.is_autocast_enabled("cpu") and is_onednn_available("cpu", torch.float32):
        return _OneDnnLinear.apply(x, weight, bias)
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """nn.Linear by :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return linear(x, self.weight, self.bias)

    @classmethod
    def around(cls, layer: nn.Linear) -> "Linear":
        """The same layer, sharing its parameters."""
        with torch.device("meta"):  # without drawing weights
            ours = cls(layer.in_features, layer.out_features)
        ours.weight, ours.bias = layer.weight, layer.bias
        return ours


class PackedLinear(nn.Module):
    """A linear layer for inference: a copy of its weights in one precision, with what follows it, without gradients."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype):
        super().__init__()
        self.weight = nn.Parameter(weight.detach().to(dtype, copy=True).contiguous(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype, copy=True), requires_grad=False)
        self._packed: Tensor | None = None

    def forward(
        self, x: Tensor, *, bias: Tensor | None = None, activation: str = "none", add: Tensor | None = None
    ) -> Tensor:
        """activation(W x + b), or W x + b + add; x (..., in), add and result (..., out).

        ``activation``: none, relu or leaky_relu (slope 0.01). ``bias`` takes the place of the layer's own.
        """
        bias = self.bias if bias is None else bias
        if not is_onednn_available(x.device.type, self.weight.dtype):
            return _step_by_step(x, self.weight, bias, activation, add)
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, x.flatten(0, -2).shape[0])
        return _onednn(x, self._packed, bias, activation, add)


def _step_by_step(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str, add: Tensor | None) -> Tensor:
    y = F.linear(x, weight, bias)
    if add is not None:
        return y.add_(add)
    activations = {"none": nn.Identity(), "relu": torch.relu_, "leaky_relu": F.leaky_relu_}
    return activations[activation](y)


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str, add: Tensor | None) -> Tensor:
    if add is not None:
        return torch.ops.mkldnn._linear_pointwise.binary(x, add, weight, bias, "add")
    slope = [LEAKY_SLOPE] if activation == "leaky_relu" else []
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, slope, "")


@lru_cache
@torch.inference_mode()
@torch.autocast("cpu", enabled=False)
def is_onednn_available(device: str, dtype: torch.dtype) -> bool:
    """Whether oneDNN's operators are there for a type of device and a precision, and compute what they are used for."""
    if device != "cpu" or dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    ramp = torch.linspace(-9, 9, 24 * 17)
    weight, x = ramp.sin().reshape(24, 17).to(dtype), ramp.cos()[: 5 * 17].reshape(5, 17).to(dtype)
    bias, add = ramp[:24].to(dtype), ramp[: 5 * 24].reshape(5, 24).to(dtype)
    cases = [(bias, "relu", None), (bias, "leaky_relu", None), (None, "none", None), (bias, "none", add)]
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 5)
        found = [_onednn(x, w, *case) for case in cases for w in (packed, weight)]
        found.append(torch.ops.mkldnn._linear_pointwise(x.t(), weight[:5].t(), None, "none", [], ""))
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False
    x, weight = x.float(), weight.float()
    bias, add = bias.float(), add.float()
    cases = [(bias, "relu", None), (bias, "leaky_relu", None), (None, "none", None), (bias, "none", add)]
    expected = [_step_by_step(x, weight, *case) for case in cases for _ in range(2)] + [x.t() @ weight[:5]]
    within = 0.02 if dtype == torch.bfloat16 else 1e-5
    return all(bool((a - b).abs().max() <= within * b.abs().max()) for a, b in zip(found, expected, strict=True))
