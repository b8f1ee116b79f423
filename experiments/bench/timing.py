"""How the benchmark measures: medians of variants timed in turn, and peak memory."""

import resource
import statistics
import time
from collections.abc import Callable

import torch


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def medians(variants: dict[str, Callable[[], object]], device: torch.device, *, repeats: int) -> dict[str, float]:
    """Seconds of each variant: one warm-up, then ``repeats`` rounds in turn; the median."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for round_number in range(repeats + 1):
        for name, run in variants.items():
            synchronise(device)
            start = time.perf_counter()
            run()
            synchronise(device)
            if round_number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_mb(device: torch.device | None = None) -> float:
    """Peak memory of this process so far, MB: resident, or what was allocated on a GPU."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
