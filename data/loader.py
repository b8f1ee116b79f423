"""Batches in an order that is a function of the seed alone, for any number of workers and processes."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from utils.errors import DiffPoseError, one_line


def epoch_order(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    """(num_rows,) int64: the order of an epoch, a function of (seed, epoch) only.

    Sorts raw random bits, whose stream numpy guarantees, rather than calling its shuffle, which it may change.
    """
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(num_rows)
    return np.argsort(bits, kind="stable")


class SeededBatchSampler(Sampler[list[int]]):
    """Endless global batches for training; yields one process's part of each.

    Global batch k is the same whatever the number of processes or workers, and each process gets a contiguous slice of
    it. An epoch is ``num_rows // batch_size`` batches; the rest of its order is dropped, other rows each epoch. A split
    smaller than one batch is run through again and again, batches crossing the epochs' ends, so that tiny data works.

    Args:
        num_rows: rows of the dataset.
        batch_size: of the global batch.
        seed: with the epoch, decides the order.
        start_step: the global batch to begin with; going there costs no more than beginning at 0.
        shuffle: False keeps the rows' own order in every epoch.
        rank, world_size: this process among those that share a global batch.

    Raises DiffPoseError when ``batch_size`` is not a positive multiple of ``world_size``.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ):
        if num_rows < 1 or not 0 <= rank < world_size or start_step < 0:
            raise ValueError(f"num_rows {num_rows}, rank {rank} of {world_size}, start_step {start_step}")
        if batch_size < 1 or batch_size % world_size:
            raise DiffPoseError(
                f"a batch of {batch_size} rows cannot be shared by {world_size} process(es): "
                "set TRAIN.BATCH_SIZE_PER_GPU to at least 1 and the global batch to a multiple of the processes"
            )
        self.num_rows, self.batch_size, self.seed = num_rows, batch_size, seed
        self.start_step, self.shuffle = start_step, shuffle
        part = batch_size // world_size
        self._part = slice(rank * part, (rank + 1) * part)
        self._cached_epoch: tuple[int, np.ndarray] | None = None

    def global_batch(self, step: int) -> np.ndarray:
        """(batch_size,) indices of global batch ``step``."""
        batches = self.num_rows // self.batch_size
        if batches:
            start = step % batches * self.batch_size
            return self._order(step // batches)[start : start + self.batch_size]
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = places // self.num_rows
        # Few rows, so that the handful of epochs that a batch spans is cheap to order anew.
        return np.concatenate([self._order(int(epoch)) for epoch in np.unique(epochs)])[
            places - epochs[0] * self.num_rows
        ]

    def __iter__(self) -> Iterator[list[int]]:
        step = self.start_step
        while True:
            yield self.global_batch(step)[self._part].tolist()
            step += 1

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.num_rows)
        if self._cached_epoch is None or self._cached_epoch[0] != epoch:
            self._cached_epoch = (epoch, epoch_order(self.num_rows, self.seed, epoch))
        return self._cached_epoch[1]


class SequentialBatches(Sampler[list[int]]):
    """Every row once, in order; the last batch may be smaller.

    Of several processes each takes a contiguous run of whole batches: they are the batches of a single process, so that
    rounding can't differ either (a rule that chooses among hypotheses may turn on it).
    """

    def __init__(self, num_rows: int, batch_size: int, rank: int = 0, world_size: int = 1):
        if batch_size < 1:
            raise DiffPoseError(f"a batch of {batch_size} rows: TEST.BATCH_SIZE_PER_GPU must be at least 1")
        self.num_rows, self.batch_size = num_rows, batch_size
        batches = -(-num_rows // batch_size)
        self._batches = range(rank * batches // world_size, (rank + 1) * batches // world_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in (number * self.batch_size for number in self._batches):
            yield list(range(start, min(start + self.batch_size, self.num_rows)))

    def __len__(self) -> int:
        return len(self._batches)


@contextlib.contextmanager
def lost_workers_named() -> Iterator[None]:
    """Turns the death of a loader's worker, which torch reports wherever the program is, into a DiffPoseError."""
    try:
        yield
    except RuntimeError as error:
        text = one_line(error)
        if "DataLoader worker" not in text:
            raise
        raise _lost_worker(text) from None


def _lost_worker(reason: str) -> DiffPoseError:
    if threading.current_thread() is threading.main_thread():
        # torch's handler would raise again with every further worker that ends, in the middle of putting them away.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return DiffPoseError(
        f"a process that loads data ended ({reason[:120]}): if the machine ran out of memory, lower WORKERS; a "
        "training goes on from its last checkpoint with --run_name NAME --resume"
    )


class _CleanLoader(DataLoader):
    """Passes a worker's DiffPoseError on as one line, and ends the workers at once.

    The error that torch raises again is tied to its own traceback, and with it to the loader's iterator. Its workers
    would linger until that knot is collected, and then be waited for in vain for five seconds each.
    """

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        batches = super().__iter__()
        try:
            yield from batches
            return
        except DiffPoseError as error:
            message = one_line(error)
            error.__traceback__ = None
        except (OSError, EOFError, RuntimeError) as error:  # a worker died, maybe while it handed a batch over
            if not self.num_workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
                raise
            message = str(_lost_worker(one_line(error) or type(error).__name__))
            error.__traceback__ = None
        del batches
        raise DiffPoseError(message)


def make_loader(
    dataset: Dataset,
    *,
    batch_size: int,
    shuffle: bool = False,
    endless: bool | None = None,
    seed: int = 0,
    start_step: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """A loader of dict batches (B, ...).

    For training (``endless``; the default when shuffling) it never ends: global batches of :class:`SeededBatchSampler`
    from ``start_step`` on, ``batch_size`` being the global one. For evaluation every row comes once, in order, and
    ``batch_size`` is one process's. The items do not depend on ``workers``.

    Raises DiffPoseError for a batch size or number of workers that cannot be; one that a worker raises while reading
    comes out of the iteration as the same one line.
    """
    endless = shuffle if endless is None else endless
    if shuffle and not endless:
        raise ValueError("a single pass is sequential: shuffle needs endless")
    if workers < 0:
        raise DiffPoseError(f"{workers} workers: WORKERS must be 0 (read in the main process) or more")
    if endless:
        sampler = SeededBatchSampler(len(dataset), batch_size, seed, start_step, shuffle, rank, world_size)
    else:
        sampler = SequentialBatches(len(dataset), batch_size, rank, world_size)
    # Without an explicit generator a loader draws its workers' seed from the global one, and would change its state.
    generator = torch.Generator().manual_seed(seed)
    return _CleanLoader(dataset, batch_sampler=sampler, num_workers=workers, pin_memory=pin_memory, generator=generator)
