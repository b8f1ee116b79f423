"""The one exception for everything that a user can cause and fix."""

import argparse
import math
import os
import sys
from collections.abc import Callable

from utils.environment import environment_trouble


class DiffPoseError(Exception):
    """Bad input or an unusable environment.

    The message is one line: the file, field or key, the cause and what to do about it.
    """


def one_line(error: BaseException) -> str:
    """The message of an error without the traceback that a data-loader worker wraps around it."""
    text = str(error).strip()
    if "Original Traceback" in text:
        text = text.splitlines()[-1].partition("DiffPoseError: ")[2] or text.splitlines()[-1]
    return " ".join(text.split())


def finite(text: str) -> float:
    """A number of the command line, as argparse's ``type``; nan and infinity, which float() takes, are none."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text}: not a finite number")
    return number


def seed_number(text: str) -> int:
    """A whole number of 64 bits, as argparse's ``type``: what all draws follow from."""
    if not text.isdecimal() or int(text) >= 2**64:
        raise argparse.ArgumentTypeError(f"{text}: a seed is a whole number from 0 to 2^64 - 1")
    return int(text)


def _which_process() -> str:
    """Names this process in messages if torchrun has started several."""
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return f"process {rank} of {size}: " if size != "1" else ""


def _fault_of_the_machine(error: Exception) -> str | None:
    """What to say of an error that is neither the user's nor ours; None for all others."""
    # torch's own class has this name; comparing names saves importing torch here.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        way_out = "lower TRAIN.BATCH_SIZE_PER_GPU, TEST.BATCH_SIZE_PER_GPU, TEST.CHUNK or WORKERS"
        return f"out of memory ({one_line(error)[:160]}): {way_out}"
    if not isinstance(error, OSError):
        return None
    trouble = environment_trouble(error)
    return f"{error.filename}: {trouble}" if trouble and error.filename else trouble


def run_script(main: Callable[[], int | None]) -> None:
    """Run a script's main function; a :class:`DiffPoseError` becomes one line on stderr and exit code 2.

    So do full disks, locked files, missing permissions and memory that runs out, wherever they are noticed.
    """
    try:
        code = main() or 0
    except DiffPoseError as error:
        print(f"error: {_which_process()}{one_line(error)}", file=sys.stderr)
        code = 2
    except BrokenPipeError:
        # Whoever read our output (head, less) has closed it: not an error, but nothing more may be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        fault = _fault_of_the_machine(error)
        if fault is None:
            raise
        print(f"error: {_which_process()}{fault}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
