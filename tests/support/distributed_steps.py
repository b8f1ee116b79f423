"""A short training by however many processes were started: ``torchrun .. -m tests.support.distributed_steps OUT``.

Process 0 writes what came of it to OUT: weights after float64 steps, and the first gradients in float32.
"""

import sys
from unittest import mock

import torch
from torch import nn

from models import build_model
from models.trainer import Trainer
from train import fit
from utils.config import parse_config
from utils.distributed import SINGLE, Processes
from utils.randomness import seed_of

BATCH = 8
STEPS = 12
MODEL = {
    "CONDITION_TYPE": "embedded_poseformer",
    "CONDITION_DIM": 2,
    "CONDITION_KEY": "heatmaps",
    "TIMESTEPS": 25,
    "EXTRA": {"NUM_SAMPLES": 4, "SAMPLEABLE": True, "POS_EMB": "channel", "OLD": False, "DROP_METHOD": "any"},
}


def batches(processes):
    """This process's part of global batches; global batch k depends on k alone."""
    own = BATCH // processes.world_size
    part = slice(processes.rank * own, (processes.rank + 1) * own)
    k = 0
    while True:
        generator = torch.Generator().manual_seed(k)
        maps = torch.rand(BATCH, 16, 64, 64, generator=generator) ** 8
        poses = torch.randn(BATCH, 16, 3, generator=generator)
        yield {"heatmap": maps[part].half(), "target_m": poses[part]}
        k += 1


def make_trainer(processes, dtype, steps):
    own = BATCH // processes.world_size
    train = {"NUM_STEPS": steps, "LR": 1e-3, "BATCH_SIZE_PER_GPU": own, "GRADIENT_ACCUMULATE_EVERY": 1, "AMP": False}
    config = parse_config({"MODEL": MODEL, "TRAIN": train, "LOSS": {"LOSS_TYPE": "l2"}})
    torch.manual_seed(seed_of(1, "weights"))
    with mock.patch("models.denoiser.HIDDEN", 64):  # what is compared does not depend on the width; the time does
        model = build_model(config).to(dtype)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return Trainer(model, config, seed=1, processes=processes)


def outcome(processes=SINGLE):
    """(weights after STEPS float64 steps, gradients of the first float32 step, losses), each name -> tensor."""
    trainer, losses = make_trainer(processes, torch.float64, STEPS), []
    fit(trainer, batches(processes), after_step=lambda result: losses.append(result.loss))
    first, gradients = make_trainer(processes, torch.float32, 1), {}

    def keep_gradients(*args, **kwargs):
        gradients.update({name: p.grad.clone() for name, p in first.model.named_parameters() if p.grad is not None})

    with mock.patch.object(first.optimizer, "step", keep_gradients):
        fit(first, batches(processes), after_step=lambda result: None)
    return {"weights": trainer.model.state_dict(), "gradients": gradients, "losses": torch.stack(losses)}


if __name__ == "__main__":
    own_processes = Processes.from_environment()
    with own_processes.joined(torch.device("cpu")):
        result = outcome(own_processes)
    if own_processes.is_main:
        torch.save(result, sys.argv[1])
