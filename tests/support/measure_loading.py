"""Time and memory of opening a split and of reading it in shuffled batches, as JSON.

Usage: python -m tests.support.measure_loading FILE ROWS_TO_READ WORKERS
"""

import json
import multiprocessing
import sys
import time
from pathlib import Path

from data.loader import make_loader
from data.pose_dataset import PoseDataset


def peak_mb(pid: int | str = "self") -> float:
    """Largest resident memory of a process so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no VmHWM for process {pid}")


def main(path: str, rows: int, workers: int) -> None:
    imported_mb = peak_mb()
    start = time.perf_counter()
    dataset = PoseDataset(path, show_progress=False)
    result = {"rows": len(dataset), "open_s": time.perf_counter() - start}
    result.update(imported_mb=imported_mb, opened_mb=peak_mb(), workers_mb=[])
    batches = iter(make_loader(dataset, batch_size=64, shuffle=True, workers=workers))
    start = time.perf_counter()
    next(batches)
    result["first_batch_s"] = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(rows // 64):
        next(batches)
    result["rows_per_s"] = rows // 64 * 64 / (time.perf_counter() - start)
    result["workers_mb"] = [peak_mb(child.pid) for child in multiprocessing.active_children()]
    result["main_mb"] = peak_mb()
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
