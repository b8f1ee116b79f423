"""A function over many items in worker processes: results in order, a bounded number of them under way."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from utils.errors import DiffPoseError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ordered_map(function: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int) -> Iterator[_Result]:
    """``function`` of each item, in the items' order; in this process when ``workers`` is 1.

    Raises what the function raises, and DiffPoseError when a worker dies.
    """
    if workers == 1:
        yield from map(function, items)
        return
    remaining = iter(items)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = deque(pool.submit(function, item) for item in islice(remaining, 4 * workers))
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(function, item) for item in islice(remaining, 1))
                yield result
        except BrokenProcessPool as error:
            raise DiffPoseError("a worker process ended unexpectedly (out of memory?): try --workers 1") from error
        finally:
            pool.shutdown(cancel_futures=True)
