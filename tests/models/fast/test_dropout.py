"""Dropout with cheap masks: the same law as torch's, repeatable, and nothing in evaluation."""

import pytest
import torch
from torch import nn

from models.fast.dropout import CheapDropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_share_kept_and_scale(p, dtype):
    out = CheapDropout(p)(torch.ones(300, 1001, dtype=dtype))
    values = out.unique()
    assert len(values) == 2
    assert float(values[0]) == 0
    assert float(values[1]) == pytest.approx(1 / (1 - p), rel=5e-3)
    assert float((out == 0).double().mean()) == pytest.approx(p, abs=0.003)
    assert out.dtype == dtype


def test_elements_are_dropped_independently():
    dropped = (CheapDropout(0.5)(torch.ones(40_000, 8)) == 0).double()
    correlation = torch.corrcoef(dropped.T) - torch.eye(8)
    assert float(correlation.abs().max()) < 0.03


def test_gradient_is_masked_like_the_output():
    x = torch.randn(50, 50, requires_grad=True)
    out = CheapDropout(0.3)(x)
    out.sum().backward()
    assert torch.equal(x.grad == 0, out == 0)
    torch.testing.assert_close(out, x.detach() * x.grad)


def test_seed_repeats_it_and_evaluation_leaves_it_out():
    x = torch.randn(7, 13)
    module = CheapDropout(0.2)
    outs = []
    for _ in range(2):
        torch.manual_seed(5)
        outs.append(module(x))
    assert torch.equal(*outs)
    assert not torch.equal(outs[0], module(x))
    assert torch.equal(module.eval()(x), x)
    assert torch.equal(CheapDropout(0.0)(x), x)
    assert isinstance(module, nn.Dropout)
