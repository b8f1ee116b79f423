"""Dropout whose random masks cost little on a CPU."""

import numpy as np
import torch
from torch import Tensor, nn


class _Masked(torch.autograd.Function):
    """x * mask, keeping the mask alone for the gradient."""

    @staticmethod
    def forward(context, x: Tensor, mask: Tensor) -> Tensor:
        context.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        (mask,) = context.saved_tensors
        return gradient * mask, None


class CheapDropout(nn.Dropout):
    """nn.Dropout with 16 random bits for each element, where torch's CPU kernel draws 53 one by one.

    An element is kept with probability 1 - round(65536 p) / 65536. The bits are SFC64's, seeded by a draw from torch's
    global generator, so seeding that repeats them. On other devices and in evaluation it is nn.Dropout itself.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...)."""
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        dropped = round(self.p * 65536)
        source = np.random.SFC64(int(torch.empty((), dtype=torch.int64).random_()))
        words = source.random_raw(-(-x.numel() // 4))  # 64 bits each
        bits = torch.from_numpy(words.view(np.int16))[: x.numel()].view(x.shape)
        mask = torch.empty_like(x, requires_grad=False)
        torch.ge(bits, dropped - 32768, out=mask)
        return _Masked.apply(x, mask.mul_(65536 / (65536 - dropped)))
