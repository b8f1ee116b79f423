"""``python -m data.synthetic --output PATH``: make the embedded benchmark."""

import argparse
import time
from pathlib import Path

from data.hdf5.compact import add_compact_option
from data.synthetic.build import BuildParameters, build
from data.synthetic.contact_sheet import save_contact_sheet
from data.synthetic.report import describe
from utils.errors import DiffPoseError, run_script


def parse_arguments() -> argparse.Namespace:
    defaults = BuildParameters()
    parser = argparse.ArgumentParser(prog="python -m data.synthetic", description=__doc__)
    parser.add_argument("--output", type=Path, help="the HDF5 file to make, with both splits")
    parser.add_argument("--train_rows", type=int, default=defaults.train_rows)
    parser.add_argument("--test_rows", type=int, default=defaults.test_rows)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--workers", type=int, default=2, help="processes; does not change the result")
    add_compact_option(parser)
    parser.add_argument("--force", action="store_true", help="build although the file is there")
    parser.add_argument("--report", action="store_true", help="measure the file: calibration, hard rows, difficulty")
    parser.add_argument("--contact_sheet", type=Path, metavar="PNG", help="save a picture of the actions")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.output is None and arguments.contact_sheet is None:
        raise DiffPoseError("nothing to do: give --output FILE.h5, --contact_sheet FILE.png or both")
    if arguments.output is not None:
        threshold = arguments.compact.threshold if arguments.compact else None
        parameters = BuildParameters(arguments.train_rows, arguments.test_rows, arguments.seed, compact=threshold)
        start = time.monotonic()
        if build(arguments.output, parameters, workers=arguments.workers, force=arguments.force):
            size, seconds = arguments.output.stat().st_size / 2**20, time.monotonic() - start
            print(f"{arguments.output}: {size:.0f} MiB in {seconds:.0f} s (synthetic, seed {arguments.seed})")
        else:
            print(f"{arguments.output} is already there with these parameters: nothing to do (--force builds it again)")
        if arguments.report:
            print(describe(arguments.output))
    if arguments.contact_sheet is not None:
        print(f"saved {save_contact_sheet(arguments.contact_sheet, seed=arguments.seed)}")


if __name__ == "__main__":
    run_script(main)
