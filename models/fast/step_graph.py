"""A training step as a CUDA graph: its few hundred kernels are recorded once, and then one call starts them all.

Small steps on a GPU are limited by the host that starts kernels, not by their arithmetic.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from utils.cell_lists import CellLists
from utils.config import Config
from utils.distributed import Processes
from utils.errors import DiffPoseError, one_line
from utils.randomness import StepDraws

# PyTorch wants a few real steps on a side stream first: they set up its libraries' workspaces.
WARM_UP_STEPS = 3

Inputs: TypeAlias = Tensor | CellLists


def wants_recording(config: Config, device: torch.device, processes: Processes) -> bool:
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


class HeldDraws:
    """Draws at fixed addresses: made when they are first asked for, then refilled with the draws of each step."""

    def __init__(self, source: StepDraws):
        self._source = source
        self._held: dict[tuple, Tensor] = {}

    def _draw(self, method: str, *arguments) -> Tensor:
        key = (method, *arguments)
        if key not in self._held:
            self._held[key] = getattr(self._source, method)(*arguments).clone()
        return self._held[key]

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        return self._draw("uniform", purpose, *shape)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        return self._draw("normal", purpose, *shape)

    def integers(self, purpose: str, high: int) -> Tensor:
        return self._draw("integers", purpose, high)

    def refill(self, source: StepDraws) -> None:
        """The numbers that ``source`` gives where this one was asked."""
        self._source = source
        for (method, *arguments), tensor in self._held.items():
            tensor.copy_(getattr(source, method)(*arguments))


def record_cuda(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Record work that touches fixed addresses only; returns what repeats it, and where its result then lies."""
    graph = torch.cuda.CUDAGraph()
    # In the stricter mode a loader's thread that page-locks memory meanwhile would spoil the recording.
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = work()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise DiffPoseError(
            f"TRAIN.CUDA_GRAPH: a step can't be recorded ({one_line(error)}): set it to false"
        ) from None
    return graph.replay, result


def on_side_stream(work: Callable[[], Tensor]) -> Tensor:
    """Do work on another stream, before and after everything on the current one."""
    current, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        result = work()
    current.wait_stream(side)
    return result


class StepRecording:
    """Calls of ``step(inputs, target_m, draws) -> loss``: the first few as they are, then all from one recording.

    ``step`` must do the same on every call and must not read numbers back to the host. All batches must have the same
    shape, and batches of cell lists must be parts of the same lists (ValueError otherwise).
    Dropout inside it draws from the device's global generator, which a recording reads when it is repeated.
    ``record`` and ``warm_up`` are CUDA's, and others in tests.
    """

    def __init__(
        self,
        step: Callable[[Inputs, Tensor, HeldDraws], Tensor],
        *,
        record: Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]] = record_cuda,
        warm_up: Callable[[Callable[[], Tensor]], Tensor] = on_side_stream,
    ):
        self._step, self._record, self._warm_up = step, record, warm_up
        self._calls = 0
        self._replay: Callable[[], None] | None = None

    def __call__(self, inputs: Inputs, target_m: Tensor, draws: StepDraws) -> Tensor:
        """One step; its loss, a scalar of its own."""
        if self._calls == 0:
            self._inputs, self._target_m, self._draws = _fixed(inputs), target_m.clone(), HeldDraws(draws)
        else:
            _refill(self._inputs, inputs)
            self._target_m.copy_(target_m)
            self._draws.refill(draws)
        self._calls += 1
        if self._calls <= WARM_UP_STEPS:
            return self._warm_up(self._work)
        if self._replay is None:
            self._replay, self._loss = self._record(self._work)
        self._replay()
        return self._loss.clone()

    def _work(self) -> Tensor:
        return self._step(self._inputs, self._target_m, self._draws)


def _fixed(inputs: Inputs) -> Inputs:
    return inputs.batch(inputs.items.clone()) if isinstance(inputs, CellLists) else inputs.clone()


def _refill(fixed: Inputs, inputs: Inputs) -> None:
    if isinstance(inputs, CellLists):
        if inputs.cells.data_ptr() != fixed.cells.data_ptr():
            raise ValueError("a recorded step takes all batches from the same cell lists")
        fixed.items.copy_(inputs.items)
    else:
        fixed.copy_(inputs)
