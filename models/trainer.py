"""The optimisation loop: batches in, trained weights out. It neither loads data nor scores nor logs."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.diffusion import GaussianDiffusion
from models.fast.step_graph import HeldDraws, StepGraph
from utils.cell_lists import CellLists
from utils.checkpoint import load_state
from utils.config import Config
from utils.distributed import SINGLE, Processes
from utils.ema import Ema
from utils.errors import DiffPoseError
from utils.precision import PRECISIONS, usable_precision
from utils.randomness import StepDraws, generator_states, restore_generators, seed_of
from utils.resume import check_same_run, run_identity


@dataclass(frozen=True)
class StepResult:
    """What a training step tells: ``step`` counts finished steps; ``loss`` is a scalar on the device."""

    step: int
    loss: Tensor
    learning_rate: float


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


def wants_graph(config: Config, device: torch.device, processes: Processes) -> bool:
    """Whether steps are to be recorded as a CUDA graph. Raises DiffPoseError where that can't be."""
    train = config.train
    if not train.cuda_graph or device.type != "cuda":
        return False
    float16 = train.amp and train.amp_dtype in ("auto", "float16")
    for wrong, why in (
        (float16, "AMP_DTYPE float16 (auto on CUDA) looks at every step's gradients: set it to bfloat16"),
        (train.gradient_accumulate_every > 1, "it takes GRADIENT_ACCUMULATE_EVERY 1"),
        (processes.world_size > 1, "it is for a single process"),
        (config.model.extra.no_replacement, "NO_REPLACEMENT looks at every map"),
    ):
        if wrong:
            raise DiffPoseError(f"TRAIN.CUDA_GRAPH: {why}, or set CUDA_GRAPH to false")
    return True


class Trainer:
    """Trains a diffusion model on batches of poses and their condition inputs.

    Every draw of a step (noise, t, candidates, dropped joints) follows from (seed, step) alone, and dropout inside the
    network from (seed, step, process), so that a run continued from :meth:`state_dict` equals an uninterrupted one.
    ``processes``: those that share every batch and keep equal weights.
    """

    def __init__(self, model: GaussianDiffusion, config: Config, *, seed: int, processes: Processes = SINGLE):
        self.model = model
        self.config = config
        self.seed = seed
        self.processes = processes
        self.step = 0
        self.device = model.betas.device
        self.optimizer = build_optimizer(model, config)
        self.ema = Ema(model, decay=config.train.ema_decay)
        self.amp_dtype = self._amp_dtype()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_dtype == torch.float16)
        # A look at the loss waits for the GPU, so there it comes every so many steps, for all of them.
        self._look_every = config.train.log_every if self.device.type == "cuda" else 1
        self._graph = StepGraph(self._whole_step) if wants_graph(config, self.device, processes) else None
        self._set_capturable()
        self._unseen: list[Tensor] = []

    def _amp_dtype(self) -> torch.dtype | None:
        train = self.config.train
        if not train.amp:
            return None
        default = "float16" if self.device.type == "cuda" else "bfloat16"
        name = usable_precision(default if train.amp_dtype == "auto" else train.amp_dtype, self.device)
        return None if name == "float32" else PRECISIONS[name]

    def fit(self, batches: Iterator[dict[str, Tensor]], *, after_step: Callable[[StepResult], bool | None]) -> None:
        """Train until NUM_STEPS, or until ``after_step`` returns True.

        ``batches`` yields dicts with target_m (B, J', 3) and heatmap (B, 16, 64, 64), as maps or cell lists, or pose_2d
        (B, P), from step ``self.step`` on: this process's part of each global batch. All processes stop when one of
        them asks for it.
        Raises DiffPoseError that names the step when the loss is not finite.
        """
        self.model.train()
        while self.step < self.config.train.num_steps:
            rate = learning_rate(self.config, self.step)
            loss = self._optimise(batches, rate)
            self.step += 1
            self._look_at(loss)
            if self.processes.any(bool(after_step(StepResult(self.step, loss, rate)))):
                break
        self._look_at(None)

    def _optimise(self, batches: Iterator[dict[str, Tensor]], rate: float) -> Tensor:
        """One step of the optimiser over GRADIENT_ACCUMULATE_EVERY batches; the mean loss, a scalar."""
        train, processes = self.config.train, self.processes
        self._set_rate(rate)
        torch.manual_seed(seed_of(self.seed, self.step, "dropout", *processes.key))
        if self._graph is not None:
            loss = self._graph(*self._next(batches, self.step))
        else:
            parts = train.gradient_accumulate_every
            losses = [self._backward(*self._next(batches, self.step * parts + part)) for part in range(parts)]
            loss = processes.average_gradients(self.model.parameters(), torch.stack(losses).sum())
            self._update()
        self.ema.update()
        return loss

    def _next(self, batches: Iterator[dict[str, Tensor]], number: int) -> tuple:
        """Inputs, targets and draws of the next batch, which is the run's ``number``-th."""
        batch, processes = next(batches), self.processes
        inputs = batch["heatmap" if "heatmap" in batch else "pose_2d"].to(self.device, non_blocking=True)
        target = batch["target_m"].to(self.device, non_blocking=True)
        count = target.shape[0]
        draws = StepDraws(
            self.seed,
            number,
            global_batch=count * processes.world_size,
            part=slice(processes.rank * count, (processes.rank + 1) * count),
            device=self.device,
        )
        return inputs, target, draws

    def _backward(self, inputs: Tensor | CellLists, target: Tensor, draws: StepDraws | HeldDraws) -> Tensor:
        """Add a batch's part to the gradients; its part of the loss, a scalar."""
        with self._autocast():
            loss = self.model.loss(target, inputs, draws) / self.config.train.gradient_accumulate_every
        self.scaler.scale(loss).backward()
        return loss.detach()

    def _update(self) -> None:
        """Move the weights by the gradients, and forget those."""
        if self.config.train.clip_grad:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _whole_step(self, inputs: Tensor | CellLists, target: Tensor, draws: HeldDraws) -> Tensor:
        """What a graph records: gradients of one batch, and the move."""
        loss = self._backward(inputs, target, draws)
        self._update()
        return loss

    def _set_capturable(self) -> None:
        """A recorded step reads the learning rate from the device."""
        for group in self.optimizer.param_groups:
            group["capturable"] = self._graph is not None
            if self._graph is not None:
                group["lr"] = torch.tensor(float(group["lr"]), device=self.device)

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if self._graph is not None:
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _autocast(self):
        if self.amp_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.amp_dtype)

    def _look_at(self, loss: Tensor | None) -> None:
        if loss is not None:
            self._unseen.append(loss)
            if len(self._unseen) < self._look_every:
                return
        if not self._unseen:
            return
        finite = torch.isfinite(torch.stack(self._unseen))
        first = self.step - len(self._unseen)
        self._unseen.clear()
        if not bool(finite.all()):
            bad = first + 1 + int((~finite).nonzero()[0, 0])
            raise DiffPoseError(
                f"the loss is not finite at step {bad}: lower TRAIN.LR, set TRAIN.CLIP_GRAD, or set TRAIN.AMP to false"
            )

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
            self._graph = self._graph and StepGraph(self._whole_step)  # a recording knows the old state's addresses
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
