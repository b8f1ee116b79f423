"""Reliability curves of several reports in one picture.

python experiments/reliability.py REPORT.json ... --output docs/images/reliability.png

A curve lies on the diagonal where the hypotheses are as wide as their errors: a region that should hold the truth in
80 % of the cases then holds it in 80 %. Below it they are too sure of themselves. Each file's first split is drawn,
named by the file, with the mean over joints.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from utils.errors import DiffPoseError, run_script
from utils.evaluation.plotting import new_figure, plot_reliability, save_figure


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="+", help="report.json of eval.py, any name")
    parser.add_argument("--output", type=Path, required=True, help="the picture, a PNG file")
    return parser.parse_args()


def read_calibration(path: Path) -> dict[str, Any]:
    """``calibration`` of a report's first split. Raises DiffPoseError for a file that has none."""
    try:
        found = json.loads(path.read_text())["results"][0]["calibration"]
        return {key: np.array(found[key], dtype=float) for key in ("levels", "observed", "error")}
    except OSError as error:
        raise DiffPoseError(f"{path}: can't be read ({error.strerror})") from None
    except (ValueError, KeyError, IndexError, TypeError):
        raise DiffPoseError(f"{path}: no report with a calibration: give the report.json of eval.py") from None


def main() -> None:
    args = parse_arguments()
    figure = new_figure(4.6, 4.6)
    axes = figure.subplots()
    curves = []
    for path in args.reports:
        found = read_calibration(path)
        name = path.stem.replace("_", " ")
        curves.append((f"{name}: error {float(found['error']):.3f}", found["levels"], found["observed"]))
    plot_reliability(axes, curves)
    print(save_figure(figure, args.output))


if __name__ == "__main__":
    run_script(main)
