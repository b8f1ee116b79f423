"""A report or a frontier as a Markdown table: ``python experiments/report_table.py RUN/report.json --into README.md``.

Replaces the text between ``<!-- report: NAME -->`` and ``<!-- end of report -->`` where NAME is the file's name without
``.json``. The README's results are made so from experiments/synthetic/quickstart.json.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from experiments.frontier_output import table as frontier_table
from utils.errors import DiffPoseError, run_script
from utils.evaluation.report import write_text

# Row of the report -> what the table calls it.
ROWS = {
    "best": "best of {N} (oracle)",
    "mean": "mean over the {N}",
    "mean_pose": "mean pose (usable)",
    "zero_noise": "zero-noise estimate (usable)",
    "blind_mean_pose": "blind: mean pose of the training set",
    "blind_best": "blind: best of {N} random training poses",
}
LEVEL = 0.8


def report_table(report: dict[str, Any]) -> str:
    """MPJPE / PA-MPJPE of the main rows of each split, and a line on the calibration of the first split."""
    results = report["results"]
    heads = [f"{result['info']['split']} ({result['num_frames']} frames, {result['averaging']})" for result in results]
    lines = [f"| MPJPE / PA-MPJPE in mm | {' | '.join(heads)} |", "|---" * (len(results) + 1) + "|"]
    for row, name in ROWS.items():
        scores = [result["rows"].get(row) for result in results]
        if all(scores):
            cells = [f"{score['mpjpe']:.1f} / {score['pa_mpjpe']:.1f}" for score in scores]
            lines.append(f"| {name.format(N=results[0]['num_hypotheses'])} | {' | '.join(cells)} |")
    calibration = results[0]["calibration"]
    share = calibration["observed"][calibration["levels"].index(LEVEL)]
    lines += [
        "",
        f"Calibration error {calibration['error']:.2f} (0 is ideal): the regions that should hold the truth in "
        f"{LEVEL:.0%} of the cases hold it in {share:.0%}.",
    ]
    return "\n".join(lines)


def table_of(content: dict[str, Any]) -> str:
    """The table of a report.json, or of a frontier.json."""
    if "about" not in content:
        return report_table(content)
    return frontier_table(content["about"], content["results"]).strip()


def with_report(text: str, table: str, name: str) -> str:
    """A Markdown text with the marked place filled. Raises DiffPoseError if there is no such place."""
    place = re.compile(rf"(<!-- report: {re.escape(name)} -->\n).*?(<!-- end of report -->)", re.DOTALL)
    if not place.search(text):
        raise DiffPoseError(f"no line '<!-- report: {name} -->' with an '<!-- end of report -->' after it: add them")
    return place.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="report.json or frontier.json of a run, or a copy under another name")
    parser.add_argument("--into", nargs="+", type=Path, default=[], metavar="FILE.md", help="files with a marked place")
    arguments = parser.parse_args()
    try:
        table = table_of(json.loads(arguments.report.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DiffPoseError(f"{arguments.report}: not a readable report.json ({error})") from None
    print(table)
    for path in arguments.into:
        write_text(path, with_report(path.read_text(encoding="utf-8"), table, arguments.report.stem))


if __name__ == "__main__":
    run_script(main)
