"""Make synthetic data: the embedded benchmark, or the wide world to train on; measure either.

python -m data.synthetic --output FILE            the benchmark
python -m data.synthetic wide --output FILE       the wide world
python -m data.synthetic measure FILE             how much its rows differ from each other, and its cameras
"""

import argparse
import sys
import time
from pathlib import Path

from data.hdf5.compact import CompactForm, add_compact_option
from data.synthetic.build import BuildParameters, build
from data.synthetic.contact_sheet import save_contact_sheet
from data.synthetic.report import describe
from utils.errors import DiffPoseError, run_script


def parse_arguments() -> argparse.Namespace:
    defaults = BuildParameters()
    parser = argparse.ArgumentParser(
        prog="python -m data.synthetic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="the HDF5 file to make, with both splits")
    parser.add_argument("--train_rows", type=int, default=defaults.train_rows)
    parser.add_argument("--test_rows", type=int, default=defaults.test_rows)
    _add_build_options(parser)
    add_compact_option(parser)
    parser.add_argument("--report", action="store_true", help="measure the file: calibration, hard rows, difficulty")
    parser.add_argument("--contact_sheet", type=Path, metavar="PNG", help="save a picture of the actions")
    return parser.parse_args()


def _add_build_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes; does not change the result")
    parser.add_argument("--force", action="store_true", help="build although the file is there")


def _tell(path: Path, built: bool, start: float, rows: int, seed: int) -> None:
    if built:
        size, seconds = path.stat().st_size / 2**20, time.monotonic() - start
        print(f"{path}: {size:.0f} MiB in {seconds:.0f} s, {rows / seconds:.0f} rows/s (synthetic, seed {seed})")
    else:
        print(f"{path} is already there with these parameters: nothing to do (--force builds it again)")


def make_wide(words: list[str]) -> None:
    """``wide``: the wide world as a file, a contact sheet of it, or both."""
    from data.synthetic.contact_sheet import save_wide_sheet
    from data.synthetic.wide_file import WideParameters, build_wide

    defaults = WideParameters()
    parser = argparse.ArgumentParser(prog="python -m data.synthetic wide", description=make_wide.__doc__)
    parser.add_argument("--output", type=Path, help="the HDF5 file to make")
    parser.add_argument("--rows", type=int, default=defaults.rows, help="training rows")
    parser.add_argument("--test_rows", type=int, default=defaults.test_rows)
    parser.add_argument(
        "--compact",
        type=CompactForm.parse,
        default=defaults.compact_form,
        metavar="SHARE",
        help="cells below this share of their map's peak are 0 (default: %(default)s)",
    )
    parser.add_argument("--contact_sheet", type=Path, metavar="PNG", help="save a picture of 60 poses")
    _add_build_options(parser)
    arguments = parser.parse_args(words)
    if arguments.output is None and arguments.contact_sheet is None:
        raise DiffPoseError("nothing to do: give --output FILE.h5, --contact_sheet FILE.png or both")
    if arguments.output is not None:
        parameters = WideParameters(
            arguments.rows, arguments.test_rows, arguments.seed, compact=arguments.compact.threshold
        )
        start = time.monotonic()
        built = build_wide(arguments.output, parameters, workers=arguments.workers, force=arguments.force)
        _tell(arguments.output, built, start, parameters.rows + parameters.test_rows, arguments.seed)
    if arguments.contact_sheet is not None:
        print(f"saved {save_wide_sheet(arguments.contact_sheet, seed=arguments.seed)}")


def measure(words: list[str]) -> None:
    """``measure``: how far poses lie from their nearest in other episodes, by family; averages of the cameras."""
    from data.synthetic.variety import describe_nearest, describe_variety

    parser = argparse.ArgumentParser(prog="python -m data.synthetic measure", description=measure.__doc__)
    parser.add_argument("file", type=Path, help="a benchmark or a wide world")
    parser.add_argument("--rows", type=int, default=20_000, help="training rows to compare, evenly spread")
    parser.add_argument("--queries", type=int, default=4_000, help="rows whose nearest is looked for")
    parser.add_argument("--episodes", type=int, default=0, help="compare so many episodes, evenly spread (0: all)")
    parser.add_argument("--to", type=Path, metavar="FILE", help="how near the rows come to another file's poses")
    asked = parser.parse_args(words)
    if asked.to is not None:
        print(describe_nearest(asked.file, asked.to, rows=asked.rows, queries=asked.queries))
        return
    print(describe_variety(asked.file, rows=asked.rows, queries=asked.queries, episodes=asked.episodes))


COMMANDS = {"wide": make_wide, "measure": measure}


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        return COMMANDS[sys.argv[1]](sys.argv[2:])
    arguments = parse_arguments()
    if arguments.output is None and arguments.contact_sheet is None:
        raise DiffPoseError("nothing to do: give --output FILE.h5, --contact_sheet FILE.png or both")
    if arguments.output is not None:
        threshold = arguments.compact.threshold if arguments.compact else None
        parameters = BuildParameters(arguments.train_rows, arguments.test_rows, arguments.seed, compact=threshold)
        start = time.monotonic()
        built = build(arguments.output, parameters, workers=arguments.workers, force=arguments.force)
        _tell(arguments.output, built, start, parameters.train_rows + parameters.test_rows, arguments.seed)
        if arguments.report:
            print(describe(arguments.output))
    if arguments.contact_sheet is not None:
        print(f"saved {save_contact_sheet(arguments.contact_sheet, seed=arguments.seed)}")
    return None


if __name__ == "__main__":
    run_script(main)
