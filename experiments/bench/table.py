"""The speed table of the README, made from what bench.py measured: ``python experiments/bench/table.py FILE.json``."""

import argparse
import json
from pathlib import Path

from utils.errors import DiffPoseError, run_script

# Case -> (what it is, unit, what a second's measurement is multiplied by, or 0: a rate of this entry over the seconds).
ROWS = {
    "training": ("training step, main configuration, batch 64", "ms", 1000, None),
    "sampling": ("sampling 8 images x 200 hypotheses x 25 steps", "hypotheses/s", 0, "hypotheses"),
    "metrics": ("all metrics, 64 frames x 200", "ms", 1000, None),
    "evaluation_batch_8": ("evaluation of a frame, 200 hypotheses, batch 8", "ms", 1000, None),
    "evaluation_batch_64": ("evaluation of a frame, 200 hypotheses, batch 64", "ms", 1000, None),
}
VARIANTS = ("plain", "float32", "bfloat16")


def read(path: Path) -> dict:
    """What bench.py wrote. Raises DiffPoseError when it is something else."""
    try:
        found = json.loads(path.read_text())
        return {"machine": found["machine"], "cases": found["cases"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise DiffPoseError(f"{path}: not a file of experiments/bench/bench.py: run it with --output {path}") from None


def table(found: dict) -> str:
    """A Markdown table: value and ratio to the plain reference of each variant, and the machine below."""
    lines = ["| work | plain, float32 | ours, float32 | ours, bfloat16 |", "|---|---|---|---|"]
    for case, (what, unit, factor, amount) in ROWS.items():
        if case not in found["cases"]:
            continue
        measured = found["cases"][case]
        cells = []
        for variant in VARIANTS:
            seconds = measured["seconds"].get(variant)
            if seconds is None:
                cells.append("-")
                continue
            value = measured[amount] / seconds if amount else factor * seconds
            ratio = "" if variant == "plain" else f" ({measured['seconds']['plain'] / seconds:.1f}x)"
            cells.append(f"{value:,.0f} {unit}{ratio}" if value >= 10 else f"{value:.1f} {unit}{ratio}")
        lines.append(f"| {what} | {' | '.join(cells)} |")
    notes = []
    if "ceilings" in found["cases"]:
        gflops = found["cases"]["ceilings"]["gflops"]
        notes.append(
            "matrix products reach " + ", ".join(f"{value:,.0f} GFLOP/s in {k}" for k, value in gflops.items())
        )
    memory = {
        "sampling_memory": "sampling 64 x 200 in float32",
        "evaluation_batch_64": "evaluation at batch 64",
    }
    for case, what in memory.items():
        if case in found["cases"]:
            notes.append(f"peak memory of {what} {found['cases'][case]['peak_mb']:,.0f} MB")
    about = found["machine"]
    where = about["gpu"] or f"{about['cpu']}, {about['threads']} threads"
    notes.append(f"{where}, torch {about['torch']}, {about['date']}, `{about['command']}`")
    return "\n".join([*lines, "", "; ".join(notes) + "."]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="the JSON file that bench.py wrote")
    print(table(read(Path(parser.parse_args().file))), end="")
    return 0


if __name__ == "__main__":
    run_script(main)
