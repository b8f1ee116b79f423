"""Several processes that work as one, as torchrun starts them: gloo between CPUs, NCCL between GPUs.

Every process runs the same script on its part of the data. Only process 0 writes files, logs and messages.
"""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from utils.devices import choose_device
from utils.errors import DiffPoseError

# How long a process waits for another that neither answers nor closes its connection, such as a lost machine.
TIMEOUT = datetime.timedelta(minutes=10)


@dataclass(frozen=True)
class Processes:
    """This process among the ``world_size`` processes of a run; by default it is the only one, and no method waits.

    ``local_rank``: its number among the processes on the same machine, which decides the GPU; ``on_this_machine``: how
    many those are. Methods that need the others raise DiffPoseError, one line, if one of them has ended.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    on_this_machine: int = 1

    @classmethod
    def from_environment(cls) -> "Processes":
        """What torchrun's variables say. Raises DiffPoseError if they are incomplete."""
        names = {
            "rank": "RANK",
            "world_size": "WORLD_SIZE",
            "local_rank": "LOCAL_RANK",
            "on_this_machine": "LOCAL_WORLD_SIZE",
        }
        if os.environ.get("WORLD_SIZE", "1") == "1":
            return cls()
        wrong = [name for name in names.values() if not os.environ.get(name, "").isdecimal()]
        if wrong or "MASTER_ADDR" not in os.environ:
            raise DiffPoseError(
                f"WORLD_SIZE is set, but {', '.join(wrong) or 'MASTER_ADDR'} is not as torchrun sets it: start "
                "several processes with torchrun, or unset WORLD_SIZE for a single one"
            )
        return cls(**{field: int(os.environ[name]) for field, name in names.items()})

    @property
    def is_main(self) -> bool:
        """Whether this process writes, logs and prints."""
        return self.rank == 0

    @property
    def key(self) -> tuple[int, ...]:
        """Added to the keys of draws that differ between processes; empty for the main one."""
        return (self.rank,) if self.rank else ()

    def device(self, name: str) -> torch.device:
        """The device of this process: with ``auto`` or ``cuda`` each takes its own GPU.

        Raises DiffPoseError if the machine has fewer GPUs than processes.
        """
        device = choose_device(name)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # streams and waits belong to the current device
        if self.world_size == 1 or device.type == "cpu":
            return device
        if device.type != "cuda":
            raise DiffPoseError(f"--device {device.type}: several processes work on cpu or cuda only")
        if device.index is not None or torch.cuda.device_count() < self.on_this_machine:
            raise DiffPoseError(
                f"--device {device}: {self.on_this_machine} processes need a GPU each, this machine has "
                f"{torch.cuda.device_count()}: start as many processes as GPUs, with --device cuda, or use --device cpu"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    @contextlib.contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Connected to the other processes for as long as the block lasts."""
        if self.world_size == 1:
            yield
            return
        # Small messages always go over gloo, so that they never wait for a GPU.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with self._contact("starting"):
            dist.init_process_group(backend, timeout=TIMEOUT)
        try:
            yield
        finally:
            with contextlib.suppress(RuntimeError):
                dist.destroy_process_group()

    def average_gradients(self, parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
        """Replace every gradient by its mean over the processes; returns the mean of the scalar ``loss``.

        Everything goes in one message. If the parts of a batch are equally large, these are the means over it.
        """
        if self.world_size == 1:
            return loss
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        message = torch.cat([loss.to(gradients[0]).reshape(1), *(gradient.flatten() for gradient in gradients)])
        with self._contact("sharing gradients"):
            dist.all_reduce(message)
        message /= self.world_size
        parts = message[1:].split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return message[0].to(loss)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all get the same answer."""
        if self.world_size == 1:
            return flag
        message = torch.tensor(int(flag))
        with self._contact("taking a step"):
            dist.all_reduce(message)
        return bool(message)

    def broadcast(self, value: Any) -> Any:
        """The main process's value, in every process; it must be picklable."""
        if self.world_size == 1:
            return value
        message = [value if self.is_main else None]
        with self._contact("sharing the training state"):
            dist.broadcast_object_list(message)
        return message[0]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value in order of rank, in the main process; an empty list in the others."""
        if self.world_size == 1:
            return [value]
        message = [None] * self.world_size if self.is_main else None
        with self._contact("collecting results"):
            dist.gather_object(value, message)
        return message or []

    def rounds(self, items: Iterable[Any], share: Callable[[Any], Any]) -> Iterator[tuple[Any, list[Any]]]:
        """This process's items, and in the main process what all processes ``share`` of theirs in the same round.

        A process that has run out of items continues with None until all have.
        """
        end = object()
        for item in chain(items, repeat(end)):
            ended = item is end
            if not self.any(not ended):
                return
            shared = self.gather(None if ended else share(item))
            yield None if ended else item, [other for other in shared if other is not None]

    @contextlib.contextmanager
    def _contact(self, doing: str) -> Iterator[None]:
        """Turns a broken connection into one line; the process that ended has said why, or was killed."""
        try:
            yield
        except RuntimeError as error:
            if "DataLoader worker" in str(error):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise DiffPoseError(
                f"lost another process while {doing} ({reason}): it ended or its machine is gone; "
                "continue a training from its last checkpoint with --run_name NAME --resume"
            ) from None


SINGLE = Processes()
