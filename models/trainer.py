"""What a training run holds between its steps: weights, optimiser, average, step count; and how it is saved.

The step itself, from a batch to new weights, is in train.py.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.diffusion import GaussianDiffusion
from utils.batch import model_input
from utils.cell_lists import CellLists
from utils.checkpoint import load_state
from utils.config import Config
from utils.distributed import SINGLE, Processes
from utils.ema import Ema
from utils.errors import DiffPoseError
from utils.precision import PRECISIONS, usable_precision
from utils.randomness import StepDraws, generator_states, restore_generators, seed_of
from utils.resume import check_same_run, run_identity


class TrainingBatch(NamedTuple):
    """A batch on the device.

    ``inputs``: heatmaps (B, 16, 64, 64), lists of their cells, or 2D poses (B, P). ``target_m``: (B, J', 3) in metres.
    ``draws``: the random numbers that belong to these items.
    """

    inputs: Tensor | CellLists
    target_m: Tensor
    draws: StepDraws


@dataclass(frozen=True)
class StepResult:
    """What a training step tells: ``step`` counts finished steps; ``loss`` is a scalar on the device."""

    step: int
    loss: Tensor
    learning_rate: float


Step = Callable[["Trainer", Iterator[TrainingBatch]], Tensor]
"""A training step: it takes its batches and returns their mean loss, a scalar on the device."""
Recorder = Callable[[Callable[..., Tensor]], Callable[..., Tensor]]
"""Turns work on the three parts of a batch into a recording of it that is called in the same way."""


def learning_rate(config: Config, step: int) -> float:
    """The rate of a step (from 0): constant, x0.1 every int(2/3 NUM_STEPS), x0.995 every 1,000 steps, or both."""
    train = config.train
    rate = train.lr
    if train.use_step_lr:
        rate *= 0.1 ** (step // max(1, int(2 / 3 * train.num_steps)))
    if train.use_exp_decay:
        rate *= 0.995 ** (step // 1000)
    return rate


def build_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """Adam, or AdamW with weight decay 0.01, in its fused form."""
    if config.train.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=config.train.lr, fused=True)
    return torch.optim.AdamW(model.parameters(), lr=config.train.lr, weight_decay=0.01, fused=True)


class Trainer:
    """A model in training.

    Every draw of a step (noise, t, candidates, dropped joints) follows from (seed, step) alone, and dropout inside the
    network from (seed, step, process), so that a run continued from :meth:`state_dict` equals an uninterrupted one.
    ``processes``: those that share every batch and keep equal weights. ``recorder``: records a step's work on a GPU
    once, to repeat it (build_trainer in models/build.py); None runs every step as it is.
    """

    def __init__(
        self,
        model: GaussianDiffusion,
        config: Config,
        *,
        seed: int,
        processes: Processes = SINGLE,
        recorder: Recorder | None = None,
    ):
        self.model = model
        self.config = config
        self.seed = seed
        self.processes = processes
        self.recorder = recorder
        self.step = 0
        self.device = model.betas.device
        self.optimizer = build_optimizer(model, config)
        self.ema = Ema(model, decay=config.train.ema_decay)
        self.amp_dtype = self._amp_dtype()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_dtype == torch.float16)
        # Reading a loss back waits for the GPU, so there it is done every so many steps, for all of them.
        self._check_every = config.train.log_every if self.device.type == "cuda" else 1
        self._unchecked: list[Tensor] = []
        self._recording: Callable[..., Tensor] | None = None
        self._set_capturable()

    def _amp_dtype(self) -> torch.dtype | None:
        train = self.config.train
        if not train.amp:
            return None
        default = "float16" if self.device.type == "cuda" else "bfloat16"
        name = usable_precision(default if train.amp_dtype == "auto" else train.amp_dtype, self.device)
        return None if name == "float32" else PRECISIONS[name]

    # --- a step, in the order of its parts

    def recorded(self, step: Step) -> Callable[[Iterator[TrainingBatch]], Tensor]:
        """``step`` of this trainer: as it is, or with a recorder as a recording that is repeated."""
        if self.recorder is None:
            return partial(step, self)
        if self._recording is None:
            self._recording = self.recorder(lambda *parts: step(self, iter([TrainingBatch(*parts)])))
        recording = self._recording
        return lambda batches: recording(*next(batches))

    def begin_step(self) -> float:
        """Set the step's learning rate, which is returned, and seed the dropout inside the network."""
        rate = learning_rate(self.config, self.step)
        for group in self.optimizer.param_groups:
            if self.recorder is None:
                group["lr"] = rate
            else:
                group["lr"].fill_(rate)
        torch.manual_seed(seed_of(self.seed, self.step, "dropout", *self.processes.key))
        return rate

    def next_batches(self, batches: Iterator[dict[str, Tensor]]) -> Iterator[TrainingBatch]:
        """The GRADIENT_ACCUMULATE_EVERY batches of the next step, on the device.

        ``batches`` yields dicts with target_m and heatmap or pose_2d: this process's part of each global batch.
        """
        parts, processes = self.config.train.gradient_accumulate_every, self.processes
        for number in range(self.step * parts, (self.step + 1) * parts):
            batch = next(batches)
            inputs = model_input(batch).to(self.device, non_blocking=True)
            target_m = batch["target_m"].to(self.device, non_blocking=True)
            count = target_m.shape[0]
            draws = StepDraws(
                self.seed,
                number,
                global_batch=count * processes.world_size,
                part=slice(processes.rank * count, (processes.rank + 1) * count),
                device=self.device,
            )
            yield TrainingBatch(inputs, target_m, draws)

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision, if the configuration asks for it."""
        if self.amp_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.amp_dtype)

    def move_weights(self) -> None:
        """Move the weights by their gradients, which CLIP_GRAD limits and the loss scale has enlarged; forget those."""
        if self.config.train.clip_grad:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def end_step(self, loss: Tensor) -> None:
        """Count a step with its loss. Raises DiffPoseError that names the step whose loss was not finite."""
        self.step += 1
        self._unchecked.append(loss)
        if len(self._unchecked) >= self._check_every:
            self.check_losses()

    def check_losses(self) -> None:
        """Look at the losses that were not looked at yet. Raises DiffPoseError as :meth:`end_step` does."""
        if not self._unchecked:
            return
        finite = torch.isfinite(torch.stack(self._unchecked))
        first = self.step - len(self._unchecked)
        self._unchecked.clear()
        if not bool(finite.all()):
            bad = first + 1 + int((~finite).nonzero()[0, 0])
            raise DiffPoseError(
                f"the loss is not finite at step {bad}: lower TRAIN.LR, set TRAIN.CLIP_GRAD, or set TRAIN.AMP to false"
            )

    def _set_capturable(self) -> None:
        """A recorded step reads the learning rate from the device."""
        for group in self.optimizer.param_groups:
            group["capturable"] = self.recorder is not None
            if self.recorder is not None:
                group["lr"] = torch.tensor(float(group["lr"]), device=self.device)

    # --- state

    def model_file(self) -> dict:
        """The content of a model-*.pt in the published form."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def state_dict(self) -> dict:
        """Everything that continues the run exactly; draws and data order follow from seed and step."""
        return {
            **self.model_file(),
            "optimizer": self.optimizer.state_dict(),
            "seed": self.seed,
            "generators": generator_states(self.device),
            "run": run_identity(self.config, self.device, self.processes.world_size),
        }

    def load_state_dict(self, state: dict, path: str) -> list[str]:
        """Continue from a training state; returns what keeps the rest from being bit-equal, a line each.

        Raises DiffPoseError, before anything is changed where it can be told, when the state belongs to another
        configuration or seed.
        """
        seed = state.get("seed")
        if not isinstance(seed, int) or seed != self.seed:
            shown = seed if isinstance(seed, int) else type(seed).__name__
            raise DiffPoseError(f"{path}: was trained with --seed {shown}, not {self.seed}: resume with that seed")
        remarks = check_same_run(state.get("run"), self.config, self.device, self.processes.world_size, path=path)
        try:
            load_state(self.model, state["model"], path)
            self.optimizer.load_state_dict(state["optimizer"])
            self._recording = None  # it knows where the old state was
            self._set_capturable()
            self.ema.load_state_dict(state["ema"])
            self.scaler.load_state_dict(state["scaler"] if self.scaler.is_enabled() else {})
            if "generators" in state:
                restore_generators(state["generators"], self.device)
            self.step = int(state["step"])
        except DiffPoseError:
            raise
        except Exception as error:  # torch, numpy and Python each have their own for content that is not theirs
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DiffPoseError(f"{path}: training state of another configuration ({reason[:160]})") from None
        return remarks
