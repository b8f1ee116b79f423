"""How the benchmark measures: medians of variants timed in turn, in one process or in one each, and peak memory."""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from utils.errors import DiffPoseError

WARM_UP = 2
# A turn of a variant in its own process lasts so long: other processes have emptied the caches before it.
TURN_S = 1.0


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    synchronise(device)
    start = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - start


def medians(variants: dict[str, Callable[[], object]], device: torch.device, *, repeats: int) -> dict[str, float]:
    """Seconds of each variant: a warm-up, then ``repeats`` rounds in turn; the median."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(WARM_UP + repeats):
        for name, run in variants.items():
            times[name].append(seconds_of(run, device))
    return {name: statistics.median(values[WARM_UP:]) for name, values in times.items()}


def serve(run: Callable[[], object], device: torch.device) -> None:
    """The other end of :func:`medians_apart`: for each line that comes in, run a while and answer with the median."""
    for _ in sys.stdin:
        times = [seconds_of(run, device)]
        while sum(times) < TURN_S:
            times.append(seconds_of(run, device))
        print(json.dumps({"seconds": statistics.median(times), "peak_mb": peak_mb(device)}), flush=True)


def medians_apart(
    commands: dict[str, Sequence[str]], *, repeats: int, once: Sequence[str] = (), cwd: Path | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and peak memory (MB) of variants that live in a process each, timed in turn; the median of the seconds.

    ``commands`` start programs that :func:`serve`, in the folder ``cwd``. The variants in ``once`` run a single time,
    cold and last, for those that take minutes. Raises DiffPoseError with the last line of a program that failed.
    """
    times: dict[str, list[float]] = {name: [] for name in commands}
    peaks: dict[str, float] = {}
    with tempfile.TemporaryFile("w+") as errors:
        start = partial(
            subprocess.Popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=cwd
        )
        processes = {name: start(command) for name, command in commands.items()}

        def ask(name: str) -> None:
            process = processes[name]
            try:
                process.stdin.write("\n")
                process.stdin.flush()
                answer = json.loads(process.stdout.readline())
            except (OSError, ValueError):
                errors.seek(0)
                reason = (errors.read().strip().splitlines() or ["no message"])[-1]
                raise DiffPoseError(f"variant {name} failed: {reason}") from None
            times[name].append(answer["seconds"])
            peaks[name] = answer["peak_mb"]

        try:
            for _ in range(1 + repeats):
                for name in commands:
                    if name not in once:
                        ask(name)
            for name in once:
                ask(name)
        finally:
            for process in processes.values():
                process.kill()
                process.communicate()
    rounds = {name: values if name in once else values[1:] for name, values in times.items()}
    return {name: statistics.median(values) for name, values in rounds.items()}, peaks


def peak_mb(device: torch.device | None = None) -> float:
    """Peak memory of this process so far, MB: resident, or what was allocated on a GPU."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
