"""Convolutions for inference that also do what follows them: batch norm, addition and ReLU.

On a CPU oneDNN computes all of it while the values are in registers, from weights that are stored as its kernels read
them; wide 3x3 convolutions in float32 go another way (models/hrnet/winograd.py). The operators are PyTorch's own but
not public: where they are missing or do something else, and on other devices, the same is computed step by step.
"""

import threading
from functools import lru_cache
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.hrnet import winograd

# Padding, stride, dilation and groups.
_PADDED_3X3 = [1, 1], [1, 1], [1, 1], 1
# Threads that call a new network at once pack its weights once.
_PACKING = threading.Lock()


class FusedConvolution(nn.Module):
    """``relu(convolution(x) + add)`` with the weights of a convolution and of the batch norm after it, if any.

    Move it to its device and precision, with ``memory_format=torch.channels_last``, before the first call.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d | None = None):
        super().__init__()
        merged = convolution if norm is None else fuse_conv_bn_eval(convolution, norm)
        self.weight, self.bias = merged.weight, merged.bias
        self.geometry = list(merged.padding), list(merged.stride), list(merged.dilation), merged.groups
        self._packed: Tensor | None = None
        self._filters: list[Tensor] | None = None

    def forward(self, x: Tensor, *, add: Tensor | None = None, relu: bool = False) -> Tensor:
        """Channels-last x (B, C, H, W) -> (B, C', H', W'); ``add`` has the shape of the result and may be overwritten.

        Without a gradient.
        """
        if not is_fusion_available(x.device.type, x.dtype):
            padding, stride, dilation, groups = self.geometry
            return _finished(F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups), add, relu)
        is_tiled = self._is_tiled(x)
        with _PACKING:
            if is_tiled and self._filters is None:
                self._filters = winograd.pack_filters(self.weight, x.shape)
            elif not is_tiled and self._packed is None:
                self._packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *self.geometry, list(x.shape))
        if is_tiled:
            return _finished(winograd.convolve(x, self._filters, self.bias), add, relu)
        return _onednn(x, self._packed, self.bias, self.geometry, add, relu)

    def _is_tiled(self, x: Tensor) -> bool:
        is_padded_3x3 = self.weight.shape[2:] == (3, 3) and self.geometry == _PADDED_3X3 and self.bias is not None
        return is_padded_3x3 and x.dtype == torch.float32 and winograd.is_worthwhile(self.weight, x)


def _finished(y: Tensor, add: Tensor | None, relu: bool) -> Tensor:
    y = y if add is None else y.add_(add)
    return y.relu_() if relu else y


def _onednn(x: Tensor, weight: Tensor, bias: Tensor, geometry: tuple, add: Tensor | None, relu: bool) -> Tensor:
    if add is None:
        after = "relu" if relu else "none"
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *geometry, after, [], "")
    added: tuple = ("add", 1.0, "relu" if relu else None, [], None)
    return torch.ops.mkldnn._convolution_pointwise_.binary(add, x, weight, bias, *geometry, *added)


@lru_cache
@torch.inference_mode()
def is_fusion_available(device: str, dtype: torch.dtype) -> bool:
    """Whether oneDNN's operators are there for a type of device and a precision, and compute what they are used for."""
    if device != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    ramp = torch.linspace(-1, 1, 8 * 8 * 9)
    weight = ramp.sin().reshape(8, 8, 3, 3).to(dtype, memory_format=torch.channels_last)
    x = ramp.cos()[: 8 * 8 * 8].reshape(1, 8, 8, 8).to(dtype, memory_format=torch.channels_last)
    bias, geometry = ramp[:8].to(dtype), _PADDED_3X3
    try:
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, list(x.shape))
        plain = _onednn(x, packed, bias, geometry, None, False)
        both = _onednn(x, packed, bias, geometry, x.clone(), True)
        tiled = winograd.convolve(x.float(), winograd.pack_filters(weight.float(), x.shape), bias.float())
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False
    expected = F.conv2d(x.float(), weight.float(), bias.float(), padding=1)
    within = (1e-5 if dtype == torch.float32 else 0.02) * float(expected.abs().max())
    found = ((plain, expected), (both, (expected + x).relu()), (tiled, expected))
    return all(bool((ours - theirs).abs().max() < within) for ours, theirs in found)


def fuse_convolutions(module: nn.Module) -> nn.Module:
    """Replace each convolution, and the batch norm after it, by a FusedConvolution, in place; in evaluation mode."""
    children = list(module.named_children())
    for (name, child), (next_name, following) in zip_longest(children, children[1:], fillvalue=("", None)):
        if not isinstance(child, nn.Conv2d):
            fuse_convolutions(child)
            continue
        norm = following if isinstance(following, nn.BatchNorm2d) else None
        setattr(module, name, FusedConvolution(child, norm))
        if norm is not None:
            setattr(module, next_name, nn.Identity())
    return module
