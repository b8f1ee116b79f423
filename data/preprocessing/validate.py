"""Check an HDF5 file: what is in it, and what is off.

python data/preprocessing/validate.py FILE [--dataset h36m|3DHP|3dpw|SkiPose] [--limit N]

Exit code 0: nothing wrong was found; 1: something is off, one line each; 2: the file cannot be used.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this project's modules before any others

from data.hdf5.split_file import SplitFile
from data.preprocessing.validation.images import check_crop, check_heatmaps, check_projection
from data.preprocessing.validation.poses import check_poses
from data.preprocessing.validation.rows import (
    check_counts,
    check_finite,
    check_hard,
    check_order,
    check_subjects_apart,
)
from data.preprocessing.validation.sample import FileFacts, Report, file_facts, read_sample
from utils.errors import DiffPoseError, run_script

DEFAULT_LIMIT = 4000


def validate(
    path: str | Path, *, dataset: str | None = None, limit: int = DEFAULT_LIMIT, show_progress: bool = True
) -> Report:
    """Check both splits of a file in either layout.

    ``limit``: rows per split, evenly spread, whose poses and heatmaps are looked at (0: all); names, order and NaN are
    checked in all rows. Raises DiffPoseError for a file that cannot be read as a dataset.
    """
    report = Report()
    facts = file_facts(Path(path), dataset)
    splits = [
        SplitFile(facts.path, dataset=facts.dataset, split=name, show_progress=show_progress) for name in facts.splits
    ]
    report.say(f"{facts.path}: {facts.dataset}, {facts.layout} layout")
    report.say(f"source: {splits[0].source}; detector: {splits[0].detector}")
    report.say(f"heatmap storage: {facts.heatmap_storage}")
    for split in splits:
        if not split.num_rows:
            report.find(f"{split.split} has no rows")
            continue
        # Absurd numbers are what we look for: they need no warnings from numpy.
        with np.errstate(all="ignore"):
            _check_split(split, facts, limit, report, show_progress=show_progress)
    check_subjects_apart([split for split in splits if split.num_rows], report)
    return report


def _check_split(split: SplitFile, facts: FileFacts, limit: int, report: Report, *, show_progress: bool) -> None:
    sample = read_sample(split, limit, show_progress=show_progress)
    report.say(f"{split.split}: {split.num_rows} rows, {len(sample.rows)} of them looked at")
    check_counts(split, report)
    check_order(split, facts, report)
    check_hard(sample, facts, report)
    check_finite(sample, report)
    check_poses(sample, facts, report)
    check_projection(sample, report)
    check_crop(sample, report)
    check_heatmaps(sample, report)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="HDF5 file in the columnar or the published layout")
    parser.add_argument("--dataset", help="h36m, 3DHP, 3dpw or SkiPose; recognised by the columns when left out")
    parser.add_argument(
        "--limit", type=int, default=DEFAULT_LIMIT, help="evenly spread rows per split to look into; 0: all of them"
    )
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if arguments.limit < 0:
        raise DiffPoseError("--limit must be at least 0 (0: all rows)")
    report = validate(arguments.file, dataset=arguments.dataset, limit=arguments.limit)
    print("\n".join(report.lines))
    print("\n".join(f"note: {text}" for text in report.notes), end="\n" if report.notes else "")
    if not report.findings:
        print("nothing wrong found")
        return 0
    print("\n".join(f"off: {text}" for text in report.findings))
    return 1


if __name__ == "__main__":
    run_script(main)
