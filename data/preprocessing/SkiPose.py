"""Ski-Pose PTZ, both splits -> SkiPose_dataset_<h36m or orig>_hrnet.h5.

    python data/preprocessing/SkiPose.py --input_dir RAW_DATA --output_dir data/skipose

An interrupted run goes on where it stopped: give the same command again.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this project's modules before any others

from data.preprocessing.conversion.command import preprocess
from data.preprocessing.skipose.source import SkiPose
from models import hrnet
from utils.errors import run_script


def main() -> None:
    """Parse, detect, write."""
    preprocess(SkiPose(), hrnet, __doc__.splitlines()[0])


if __name__ == "__main__":
    run_script(main)
