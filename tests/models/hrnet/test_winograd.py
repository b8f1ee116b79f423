"""Convolutions in tiles against the direct sum."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.hrnet import winograd
from models.hrnet.fused_convolution import FusedConvolution, is_fusion_available

needs_onednn = pytest.mark.skipif(not is_fusion_available("cpu", torch.float32), reason="no fused operators")


def random_case(batch, inputs, outputs, height, width):
    generator = torch.Generator().manual_seed(height * width)
    x = torch.randn(batch, inputs, height, width, generator=generator).to(memory_format=torch.channels_last)
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1).requires_grad_(False)
    nn.init.normal_(convolution.weight, std=(9 * inputs) ** -0.5, generator=generator)
    nn.init.normal_(convolution.bias, generator=generator)
    return x, convolution


@needs_onednn
@pytest.mark.parametrize("shape", [(1, 8, 8, 4, 4), (2, 5, 7, 8, 11), (3, 128, 160, 16, 4), (16, 256, 256, 8, 8)])
def test_tiles_give_the_direct_sum(shape):
    x, convolution = random_case(*shape)
    exact = F.conv2d(x.double(), convolution.weight.double(), convolution.bias.double(), padding=1)
    ours = winograd.convolve(x, winograd.pack_filters(convolution.weight, x.shape), convolution.bias)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert (ours - exact).abs().max() < 3e-6 * exact.abs().max()


@needs_onednn
@pytest.mark.parametrize("width", [64, 128, 256])
def test_rounding_is_little_more_than_the_direct_sums(width):
    """With the points 0, +-1, +-2 it would be twice the direct sum's."""
    x, convolution = random_case(4, width, width, 16, 16)
    x.relu_()
    exact = F.conv2d(x.double(), convolution.weight.double(), convolution.bias.double(), padding=1)
    ours = winograd.convolve(x, winograd.pack_filters(convolution.weight, x.shape), convolution.bias)
    assert (ours - exact).std() < 1.7 * (convolution(x) - exact).std()


@needs_onednn
def test_each_image_has_the_same_values_in_any_company():
    x, convolution = random_case(9, 128, 128, 16, 16)
    fused = FusedConvolution(convolution).to(memory_format=torch.channels_last)
    whole = fused(x)
    assert fused._filters is not None
    for some in (slice(4, 9), slice(4, 5)):
        torch.testing.assert_close(fused(x[some]), whole[some], rtol=0, atol=0)


@needs_onednn
@pytest.mark.parametrize(
    ("shape", "is_tiled"),
    [
        ((1, 128, 128, 16, 17), True),
        ((4, 128, 128, 18, 16), False),  # not whole tiles
        ((8, 128, 128, 8, 16), False),  # too little work in an image
        ((2, 32, 128, 32, 32), False),  # too narrow
    ],
)
def test_tiles_are_used_where_they_fit_and_pay(shape, is_tiled):
    x, convolution = random_case(*shape)
    fused = FusedConvolution(convolution).to(memory_format=torch.channels_last)
    add = torch.ones(shape[0], shape[2], *shape[3:]).to(memory_format=torch.channels_last)
    found = fused(x, add=add.clone(), relu=True)
    assert (fused._filters is not None) == is_tiled
    torch.testing.assert_close(found, (convolution(x) + add).relu_(), rtol=0, atol=1e-4)


@needs_onednn
def test_other_convolutions_are_computed_directly():
    x, _ = random_case(4, 128, 128, 16, 16)
    for options in ({"padding": 0}, {"padding": 1, "stride": 2}, {"padding": 2, "dilation": 2}):
        convolution = nn.Conv2d(128, 128, 3, **options).requires_grad_(False)
        fused = FusedConvolution(convolution).to(memory_format=torch.channels_last)
        torch.testing.assert_close(fused(x), convolution(x), rtol=0, atol=1e-4)
        assert fused._filters is None
