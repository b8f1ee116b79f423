"""The one exception for everything that a user can cause and fix."""

import os
import sys
from collections.abc import Callable


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


def _which_process() -> str:
    """Names this process in messages if torchrun has started several."""
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return f"process {rank} of {size}: " if size != "1" else ""


def run_script(main: Callable[[], int | None]) -> None:
    """Run a script's main function; a :class:`DiffPoseError` becomes one line on stderr and exit code 2."""
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
        # torch's own class has this name; comparing names saves importing torch here.
        if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
            raise
        way_out = "lower TRAIN.BATCH_SIZE_PER_GPU, TEST.BATCH_SIZE_PER_GPU, TEST.CHUNK or WORKERS"
        print(f"error: {_which_process()}out of memory ({one_line(error)[:160]}): {way_out}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
