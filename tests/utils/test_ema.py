"""Averaged weights."""

import pytest
import torch
from torch import nn

from utils.ema import Ema, averaged_weights


def test_copies_through_step_100_then_averages_every_tenth():
    model = nn.Linear(1, 1, bias=False)
    ema = Ema(model, decay=0.995)
    history, expected = [], None
    for step in range(151):
        with torch.no_grad():
            model.weight.fill_(float(step))
        ema.update()
        if step % 10 == 0:
            if step <= 100:
                expected = float(step)
            else:
                decay = min(0.995, 1 - (1 + step - 100) ** (-2 / 3))
                expected = decay * expected + (1 - decay) * step
        history.append((float(ema.average.weight), expected))
    for ours, wanted in history:
        assert ours == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_decay_is_bounded_by_its_largest_value():
    ema = Ema(nn.Linear(1, 1), decay=0.9)
    assert ema.decay_at(100) == 0.0
    assert ema.decay_at(1_000_000) == 0.9


def test_state_round_trip_and_published_names():
    model = nn.Linear(2, 2)
    ema = Ema(model)
    for _ in range(111):
        ema.update()
        with torch.no_grad():
            model.weight.add_(0.1)
    state = ema.state_dict()
    assert set(state) == {
        "initted",
        "step",
        "online_model.weight",
        "online_model.bias",
        "ema_model.weight",
        "ema_model.bias",
    }
    assert bool(state["initted"])
    other = Ema(nn.Linear(2, 2))
    other.load_state_dict({**state, "step": torch.tensor([111])})  # the published form has shape (1,)
    assert other.step == 111
    assert torch.equal(other.average.weight, ema.average.weight)
    assert set(averaged_weights(state)) == {"weight", "bias"}
