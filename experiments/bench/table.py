"""The speed tables of docs/speed.md, made from what bench.py measured: ``python experiments/bench/table.py FILE.json``.

``--into docs/speed.md`` puts them between ``<!-- speed -->``, ``<!-- few steps -->`` or ``<!-- exported -->`` and the
mark that ends them. The second one holds the cases that compare samplers, from a file of its own (``bench.py --only
ceilings few_steps few_steps_evaluation``), the third one the ONNX graphs (``bench.py --only exported``).
"""

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this project's modules before any others

from utils.errors import DiffPoseError, run_script
from utils.evaluation.report import write_text

# Case -> (what it is, unit, what a second's measurement is multiplied by, or 0: a rate of this entry over the seconds).
ROWS = {
    "training": ("training step, main configuration, batch 64", "ms", 1000, None),
    "sampling": ("sampling 8 images x 200 hypotheses x 25 steps", "hypotheses/s", 0, "hypotheses"),
    "metrics": ("all metrics, 64 frames x 200", "ms", 1000, None),
    "evaluation_batch_8": ("evaluation of a frame, 200 hypotheses, batch 8", "ms", 1000, None),
    "evaluation_batch_64": ("evaluation of a frame, 200 hypotheses, batch 64", "ms", 1000, None),
    "sampling_large": ("sampling 320 images x 200 hypotheses x 25 steps", "hypotheses/s", 0, "hypotheses"),
    "evaluation_large": ("evaluation of a frame, 200 hypotheses, batch 320", "ms", 1000, None),
    "hrnet": ("HRNet-W32, an image (plain: one at a time)", "ms", 1000, None),
}
# Condition 17.4 and 25 reverse steps 82.3 million multiply-adds.
GFLOP_A_HYPOTHESIS = 0.2
# Of it, the condition, and one reverse step.
GFLOP_CONDITION, GFLOP_STEP = 0.035, 0.0066
FEW_STEPS = {
    "chain": ("published chain, 25 steps", 25, 1.0),
    "ddim_10": ("ddim, 10 steps", 10, 1.0),
    "ddim_5": ("ddim, 5 steps", 5, 1.0),
    "ddim_5_sets": ("ddim, 5 steps, 50 candidate sets", 5, 0.25),
}
VARIANTS = {
    "plain": "plain, float32",
    "float32": "ours, float32",
    "tf32": "ours, tf32",
    "bfloat16": "ours, bfloat16",
    "graph": "ours, bfloat16, CUDA graph",
}


def read(path: Path) -> dict:
    """What bench.py wrote. Raises DiffPoseError when it is something else."""
    try:
        found = json.loads(path.read_text())
        return {"machine": found["machine"], "cases": found["cases"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise DiffPoseError(f"{path}: not a file of experiments/bench/bench.py: run it with --output {path}") from None


def table(found: dict) -> str:
    """A Markdown table: value and ratio to the plain reference of each variant, and the machine below."""
    rows = {case: row for case, row in ROWS.items() if case in found["cases"]}
    shown = [name for name in VARIANTS if any(name in found["cases"][case]["seconds"] for case in rows)]
    lines = [f"| work | {' | '.join(VARIANTS[name] for name in shown)} |", "|---" * (1 + len(shown)) + "|"]
    for case, (what, unit, factor, amount) in rows.items():
        measured = found["cases"][case]
        plain = measured["seconds"].get("plain")
        cells = []
        for variant in shown:
            seconds = measured["seconds"].get(variant)
            if seconds is None:
                cells.append("-")
                continue
            value = measured[amount] / seconds if amount else factor * seconds
            ratio = "" if variant == "plain" or plain is None else f" ({plain / seconds:.1f}x)"
            digits = 0 if value >= 10 else 1 if value >= 1 else 3
            cells.append(f"{value:,.{digits}f} {unit}{ratio}")
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(_wrapped(f"* {note}") for note in notes(found))]) + "\n"


def few_steps_table(found: dict) -> str:
    """A Markdown table: hypotheses/s and frames/s of few steps, with ratios to the published chain of the same run."""
    sampled, scored = found["cases"]["few_steps"], found["cases"]["few_steps_evaluation"]["seconds"]
    seconds, about = sampled["seconds"], found["machine"]
    arithmetic = "float32" if "no bfloat16" in about["cpu"] and not about["gpu"] else "bfloat16"
    ceiling = found["cases"]["ceilings"]["gflops"][arithmetic]
    lines = [
        "| sampler | sampling 8 images x 200 | of the ceiling | evaluation of a frame, 200 hypotheses, batch 64 |",
        "|---|---|---|---|",
    ]
    for name, (what, steps, sets) in FEW_STEPS.items():
        rate = sampled["hypotheses"] / seconds[name]
        share = rate * (sets * GFLOP_CONDITION + steps * GFLOP_STEP) / ceiling
        sampling = f"{rate:,.0f} hypotheses/s ({seconds['chain'] / seconds[name]:.1f}x)"
        evaluation = f"{1000 * scored[name]:.0f} ms ({scored['chain'] / scored[name]:.1f}x)"
        lines.append(f"| {what} | {sampling} | {100 * share:.0f} % | {evaluation} |")
    where = about["gpu"] or f"{about['cpu']}, {about['threads']} threads"
    note = (
        f"* {where}, torch {about['torch']}, {about['date']}, {arithmetic}, `{about['command']}`. The ceiling is a "
        f"large matrix product's {ceiling:,.0f} GFLOP/s."
    )
    return "\n".join([*lines, "", _wrapped(note)]) + "\n"


def exported_table(found: dict) -> str:
    """A Markdown table: hypotheses/s of the ONNX graphs in onnxruntime beside our own networks', of the same run."""
    measured, about = found["cases"]["exported"], found["machine"]
    seconds = measured["seconds"]
    lines = ["| sampler, 8 images x 200 | ours, float32 | exported, onnxruntime |", "|---|---|---|"]
    for name in ("chain", "ddim_5"):
        ours, exported = (measured["hypotheses"] / seconds[key] for key in (name, f"{name}_onnx"))
        rates = f"{ours:,.0f} hypotheses/s | {exported:,.0f} hypotheses/s ({exported / ours:.2f}x)"
        lines.append(f"| {FEW_STEPS[name][0]} | {rates} |")
    note = (
        f"* {about['cpu']}, {about['threads']} threads, torch {about['torch']}, {about['date']}, `{about['command']}`."
    )
    return "\n".join([*lines, "", _wrapped(note)]) + "\n"


def notes(found: dict) -> list[str]:
    """What else was measured, and on what."""
    cases, about = found["cases"], found["machine"]
    where = about["gpu"] or f"{about['cpu']}, {about['threads']} threads"
    lines = [f"{where}, torch {about['torch']}, {about['date']}, `{about['command']}`."]
    if "ceilings" in cases:
        gflops = cases["ceilings"]["gflops"]
        reach = " and ".join(f"{value:,.0f} GFLOP/s in {name}" for name, value in gflops.items())
        lines.append(f"Large matrix products reach {reach}.")
        if sampling := cases.get("sampling_large", cases.get("sampling")):
            work = sampling["hypotheses"] * GFLOP_A_HYPOTHESIS
            shares = [
                f"{100 * work / seconds / gflops[name]:.0f} % in {name}"
                for name, seconds in sampling["seconds"].items()
                if name in gflops
            ]
            lines.append(f"Sampling ({GFLOP_A_HYPOTHESIS} GFLOP a hypothesis) uses {' and '.join(shares)} of that.")
    memory = {"sampling_memory": "sampling 64 x 200 in float32", "evaluation_batch_64": "evaluation at batch 64"}
    peaks = [f"{cases[case]['peak_mb']:,.0f} MB for {what}" for case, what in memory.items() if case in cases]
    if peaks:
        lines.append(f"Peak memory: {', '.join(peaks)}.")
    if "training" in cases and "evaluation_batch_64" in cases:
        step = min(cases["training"]["seconds"].values())
        evaluations = [measured for case, measured in cases.items() if case.startswith("evaluation")]
        frame = min(seconds for measured in evaluations for seconds in measured["seconds"].values())
        lines.append(
            f"At the fastest of these, 700,000 training steps take {_duration(700_000 * step)}, and the evaluation of "
            f"17,000 frames x 200 takes {_duration(17_000 * frame)}."
        )
    if data := cases.get("dataset"):
        times = f"{data['loader_rows_per_s'] * _fastest_step(cases):.1f} times" if "training" in cases else "against"
        lines.append(
            f"A split of {data['rows']:,} rows opens in {data['open_s']:.2f} s, its first shuffled batch comes "
            f"{data['first_batch_s']:.2f} s later, with {data['peak_mb']:,.0f} MB ({data['imports_mb']:,.0f} of them "
            f"imports); {data['workers']} workers feed {data['loader_rows_per_s']:,.0f} rows/s, {times} what the "
            "fastest training step takes."
        )
    if "demo" in cases:
        lines.append(f"Demo: one person's heatmaps to 200 poses in {cases['demo']['seconds']['ours']:.2f} s (warm).")
    return lines


def _wrapped(item: str) -> str:
    return textwrap.fill(item, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _fastest_step(cases: dict) -> float:
    """Seconds that a training step takes a row."""
    return min(cases["training"]["seconds"].values()) / cases["training"]["batch"]


# Case -> the name of its table's marks, and what makes it.
SEPARATE = (("few_steps", "few steps", few_steps_table), ("exported", "exported", exported_table))


def with_table(text: str, found: dict) -> str:
    """A Markdown text with the tables that ``found`` has figures of made anew."""
    for case, name, made in SEPARATE:
        if case in found["cases"]:
            text = _put(text, name, made(found))
    return _put(text, "speed", table(found)) if any(case in found["cases"] for case in ROWS) else text


def _put(text: str, name: str, made: str) -> str:
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    return re.sub(f"{start}.*?{end}", lambda match: f"{start}{made}{end}", text, flags=re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="the JSON file that bench.py wrote")
    parser.add_argument("--into", metavar="FILE.md", help="put the table into this Markdown file")
    args = parser.parse_args()
    found = read(Path(args.file))
    if args.into:
        write_text(Path(args.into), with_table(Path(args.into).read_text(encoding="utf-8"), found))
    if any(case in found["cases"] for case in ROWS):
        print(table(found), end="")
    for case, _, made in SEPARATE:
        if case in found["cases"]:
            print(made(found), end="")
    return 0


if __name__ == "__main__":
    run_script(main)
