"""3x3 convolutions in float32 with half of the multiplications, for inference on a CPU.

Winograd's F(4, 3) (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016) down the columns: six
rows d of the image and the three rows g of a filter give four rows A^T [(G g) * (B^T d)], where each of the six
products * is a convolution along the rows, summed over channels. With the points 0, +-sqrt(1/2), +-sqrt(2) and infinity
its rounding is a third more than the direct sum's; with the usual 0, +-1, +-2 it would be twice that. Tiles in both
directions would save more multiplications, but moving the values around would cost more than that.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

TILE, WINDOW = 4, 6
# With fewer channels the transforms take longer than they save; with less work in an image the calls do. The batch size
# plays no part in the choice, so that an image's values do not depend on the other images in its batch.
FEWEST_CHANNELS, LEAST_WORK = 64, 2**22
_NEAR, _FAR = 0.5**0.5, 2**0.5  # the points' absolute values
_OF_FILTERS = (
    (1, 0, 0),
    *((-2 / 3, -2 / 3 * point, -1 / 3) for point in (_NEAR, -_NEAR)),
    *((1 / 6, 1 / 6 * point, 1 / 3) for point in (_FAR, -_FAR)),
    (0, 0, 1),
)  # G
# Padding, stride, dilation and groups of the convolutions along the rows.
_GEOMETRY = [0, 1], [1, 1], [1, 1], 1


def is_worthwhile(weight: Tensor, x: Tensor) -> bool:
    """Whether filters (C', C, 3, 3) can be applied to x (B, C, H, W) in this way, and whether that is faster."""
    channels, height, width = x.shape[1:]
    work = height * width * channels * len(weight)
    return height % TILE == 0 and min(channels, len(weight)) >= FEWEST_CHANNELS and work >= LEAST_WORK


def pack_filters(weight: Tensor, shape: Sequence[int]) -> list[Tensor]:
    """Filters (C', C, 3, 3), for images of a shape (B, C, H, W) -> six (C', C, 1, 3) as oneDNN's kernels read them."""
    batch, channels, height, width = shape
    table = torch.tensor(_OF_FILTERS, dtype=torch.float64)
    filters = torch.einsum("ai,ocij->aocj", table, weight.double()).to(weight.dtype).unsqueeze(3)
    shape = [batch, channels, height // TILE, width]
    return [torch.ops.mkldnn._reorder_convolution_weight(part, *_GEOMETRY, shape) for part in filters]


def convolve(x: Tensor, packed: Sequence[Tensor], bias: Tensor) -> Tensor:
    """Channels-last x (B, C, H, W), H a multiple of 4, as if zeros surrounded it -> (B, C', H, W)."""
    x = x.permute(0, 2, 3, 1)
    batch, height, width, channels = x.shape
    windows = x.new_empty(WINDOW, batch, height // TILE, width, channels)
    _of_windows(x.reshape(batch, height // TILE, TILE, width, channels).unbind(2), windows)
    sums = [
        torch.ops.mkldnn._convolution_pointwise(rows.permute(0, 3, 1, 2), filters, None, *_GEOMETRY, "none", [], "")
        for rows, filters in zip(windows, packed, strict=True)
    ]
    tiles = x.new_empty(batch, height // TILE, TILE, width, len(bias))
    _to_tiles([rows.permute(0, 2, 3, 1) for rows in sums], tiles.unbind(2))
    return tiles.view(batch, height, width, -1).add_(bias).permute(0, 3, 1, 2)


def _of_windows(rows: Sequence[Tensor], out: Tensor) -> None:
    """B^T d, into the six of out; the four rows of each tile are d_1 .. d_4, those beside it are its neighbours'."""
    first, second, third, fourth = rows  # (B, H / 4, W, C) each
    torch.sub(fourth, second, alpha=2.5, out=out[0])[:, 1:] += fourth[:, :-1]
    torch.sub(first, third, alpha=2.5, out=out[5])[:, :-1] += first[:, 1:]
    even, odd = torch.empty_like(out[0]), torch.empty_like(out[0])
    for index, point, other in ((1, _NEAR, _FAR), (3, _FAR, _NEAR)):
        torch.sub(fourth, second, alpha=other**2, out=even)
        torch.sub(third, first, alpha=other**2, out=odd)
        torch.add(even, odd, alpha=point, out=out[index])
        torch.sub(even, odd, alpha=point, out=out[index + 1])


def _to_tiles(m: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """A^T m, into the four of out."""
    near, far = m[1] + m[2], m[3] + m[4]
    torch.add(m[0], near, out=out[0]).add_(far)
    torch.mul(near, _NEAR**2, out=out[2]).add_(far, alpha=_FAR**2)
    torch.sub(m[1], m[2], out=near)
    torch.sub(m[3], m[4], out=far)
    torch.mul(near, _NEAR, out=out[1]).add_(far, alpha=_FAR)
    torch.add(m[5], near, alpha=_NEAR**3, out=out[3]).add_(far, alpha=_FAR**3)
