"""Exponential moving average of a model's weights."""

import copy

import torch
from torch import Tensor, nn

UPDATE_EVERY = 10
WARMUP_STEPS = 100
POWER = 2 / 3


class Ema:
    """Averaged weights, updated at steps 0, 10, 20, ..; plain copies of the weights through step 100.

    After that, ema <- d ema + (1 - d) weights with d = min(decay, 1 - (1 + n)^(-2/3)) and n the steps since the 100th.
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.995):
        self.model = model
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.step = 0

    def decay_at(self, step: int) -> float:
        """The factor on the old average at a step; 0 makes a plain copy."""
        since = step - WARMUP_STEPS
        return min(self.decay, 1 - (1 + since) ** -POWER) if since > 0 else 0.0

    @torch.no_grad()
    def update(self) -> None:
        """Count one training step, and update the average if it is due."""
        step, self.step = self.step, self.step + 1
        if step % UPDATE_EVERY:
            return
        averages, weights = list(self.average.state_dict().values()), list(self.model.state_dict().values())
        floating = [i for i, value in enumerate(weights) if value.is_floating_point()]
        torch._foreach_lerp_([averages[i] for i in floating], [weights[i] for i in floating], 1 - self.decay_at(step))
        for i, value in enumerate(weights):
            if not value.is_floating_point():
                averages[i].copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        """The published names: initted, step, online_model.*, ema_model.*."""
        return {
            "initted": torch.tensor(self.step > WARMUP_STEPS),
            "step": torch.tensor(self.step),
            **{f"online_model.{name}": value for name, value in self.model.state_dict().items()},
            **{f"ema_model.{name}": value for name, value in self.average.state_dict().items()},
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load the average and its step count; the model loads the weights themselves."""
        self.average.load_state_dict(averaged_weights(state))
        self.step = int(state["step"].reshape(-1)[0])


def averaged_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The averaged model's state dict from an EMA state dict with the published names; empty if there is none."""
    prefix = "ema_model."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
