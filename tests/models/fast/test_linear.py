"""Linear layers by oneDNN: the same results and gradients as PyTorch's own, and the same where oneDNN is missing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.fast import linear
from models.fast.linear import Linear, PackedLinear


@pytest.fixture(params=[True, False], ids=["onednn", "step by step"])
def with_onednn(request, monkeypatch):
    if request.param and not linear.is_onednn_available("cpu", torch.float32):
        pytest.skip("this PyTorch has no oneDNN operators")
    if not request.param:
        monkeypatch.setattr(linear, "is_onednn_available", lambda device, dtype: False)


@pytest.mark.parametrize("shape", [(7, 33), (300, 32), (5, 3, 33), (1, 64)])
def test_result_and_gradients_equal_those_of_pytorch(with_onednn, shape):
    torch.manual_seed(0)
    ours = Linear(shape[-1], 20)
    theirs = nn.Linear(shape[-1], 20)
    theirs.load_state_dict(ours.state_dict())
    wanted = torch.randn(*shape[:-1], 20)
    results = []
    for layer in (ours, theirs):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
        y = layer(x)
        (y * wanted).sum().backward()
        results.append((y, x.grad, layer.weight.grad, layer.bias.grad))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (0, 8), (3, 0, 8)])
def test_odd_shapes_are_taken_as_by_pytorch(shape):
    layer = Linear(8, 4)
    layer(torch.ones(shape)).sum().backward()
    assert layer.weight.grad.shape == (4, 8)


def test_frozen_parts_get_no_gradient():
    layer = Linear(8, 4)
    layer.weight.requires_grad_(False)
    layer(torch.randn(3, 8)).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((4,), 3.0))


def test_under_autocast_and_in_double_it_is_pytorchs():
    layer = Linear(8, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(3, 8)).dtype == torch.bfloat16
    assert layer.double()(torch.randn(3, 8).double()).dtype == torch.float64


def test_around_shares_parameters_and_draws_nothing():
    layer = nn.Linear(8, 4)
    state = torch.get_rng_state()
    ours = Linear.around(layer)
    assert torch.equal(state, torch.get_rng_state())
    assert ours.weight is layer.weight
    assert ours.bias is layer.bias


ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "leaky_relu": F.leaky_relu}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@torch.no_grad()
def test_packed_layer_with_what_follows(with_onednn, activation, dtype, tolerance):
    torch.manual_seed(0)
    weight, bias, x = torch.randn(20, 33) / 6, torch.randn(20), torch.randn(5, 3, 33)
    layer = PackedLinear(weight, bias, dtype)
    for _ in range(2):  # the second time from packed weights
        found = layer(x.to(dtype), activation=activation)
        assert found.dtype == dtype
        torch.testing.assert_close(
            found.float(), ACTIVATIONS[activation](F.linear(x, weight, bias)), rtol=tolerance, atol=2 * tolerance
        )
    other, add = torch.randn(20), torch.randn(5, 3, 20)
    found = layer(x.to(dtype), bias=other.to(dtype), add=add.to(dtype)).float()
    torch.testing.assert_close(found, F.linear(x, weight, other) + add, rtol=tolerance, atol=4 * tolerance)


@torch.no_grad()
def test_packed_layer_is_a_copy():
    weight = torch.randn(4, 8)
    layer, x = PackedLinear(weight, None, torch.float32), torch.randn(2, 8)
    before = layer(x)
    weight.zero_()
    assert torch.equal(layer(x), before)
