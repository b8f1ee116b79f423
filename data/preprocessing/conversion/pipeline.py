"""Detection over many recordings: decoding threads, the detector's, and one writing thread.

Every recording becomes a file of its own, in batches that always start at its first row, so that neither the number of
workers nor an interruption changes a value. At most a few batches are in memory, however long a video is.
"""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from data.ambiguity import is_ambiguous
from data.hdf5.columnar import ColumnarWriter
from data.preprocessing.conversion.crops import detector_image
from data.preprocessing.conversion.detector import HeatmapDetector
from data.preprocessing.conversion.frames import Frames, Recording
from utils.errors import DiffPoseError
from utils.heatmaps import argmax_2d

_BATCHES_WAITING = 3


@dataclass
class _Batch:
    """Rows start..start+len(images)-1 of a recording; the last batch of a recording may be empty."""

    recording: Recording
    frames: Frames
    start: int
    images: np.ndarray
    last: bool
    heatmaps: np.ndarray | None = None


def _batches(recording: Recording, batch_size: int, limit: int | None) -> Iterator[_Batch]:
    frames = recording.load().first(limit)
    start, crops = 0, []
    with contextlib.closing(frames.images()) as images:
        for box, image in zip(frames.boxes, images, strict=False):
            crops.append(detector_image(image, box))
            if len(crops) == batch_size:
                yield _Batch(recording, frames, start, np.stack(crops), start + len(crops) == len(frames))
                start, crops = start + len(crops), []
    if crops or start < len(frames) or not len(frames):
        yield _Batch(recording, frames, start, np.stack(crops) if crops else np.empty((0,)), True)


class _StoppedError(Exception):
    """Another thread failed, or the run was interrupted."""


class Pipeline:
    """Runs a detector over recordings and writes each to its own file.

    Args:
        detector: images -> heatmaps.
        open_writer: recording -> the writer of its file, a context manager.
        on_done: called with a recording and its number of rows when its file is in place; one without annotated
            frames has no file.
        encode: heatmaps of a row -> their stored form.
        batch_size, workers: images per network call, and decoding threads.
        limit: at most this many rows per recording.
    """

    def __init__(
        self,
        *,
        detector: HeatmapDetector,
        open_writer: Callable[[Recording], ColumnarWriter],
        on_done: Callable[[Recording, int], None],
        encode: Callable[[np.ndarray], bytes],
        batch_size: int,
        workers: int,
        limit: int | None = None,
    ):
        self._detector, self._open_writer, self._encode = detector, open_writer, encode
        self._on_done = on_done
        self._batch_size, self._workers, self._limit = batch_size, workers, limit
        self._decoded: queue.Queue[_Batch | BaseException | None] = queue.Queue(_BATCHES_WAITING)
        self._detected: queue.Queue[_Batch | None] = queue.Queue(_BATCHES_WAITING)
        self._stop = threading.Event()
        self._failure: BaseException | None = None

    def run(self, recordings: Sequence[Recording]) -> None:
        """Detect and write all; the first error of any thread is raised, and leaves no half-written file."""
        remaining = _Shared(recordings)
        workers = min(self._workers, max(1, len(recordings)))
        threads = [threading.Thread(target=self._decode, args=(remaining,), daemon=True) for _ in range(workers)]
        threads.append(threading.Thread(target=self._write, daemon=True))
        for thread in threads:
            thread.start()
        try:
            self._detect(workers)
            self._put(self._detected, None)
            threads[-1].join()
        except _StoppedError:
            pass
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def _detect(self, workers: int) -> None:
        running: deque[_Batch] = deque()
        with contextlib.closing(self._detector.stream(self._images(workers, running))) as results:
            for heatmaps in results:
                batch = running.popleft()
                if not np.isfinite(heatmaps).all():
                    raise DiffPoseError(
                        f"{batch.recording.key}: heatmaps that are not finite from row {batch.start}: "
                        "check the weights, or use --precision float32"
                    )
                batch.heatmaps = heatmaps if len(heatmaps) else None
                batch.images = batch.images[:0]
                self._put(self._detected, batch)

    def _images(self, workers: int, running: deque[_Batch]) -> Iterator[np.ndarray]:
        """The images of each decoded batch, which is added to ``running``, until ``workers`` threads have ended."""
        while workers:
            batch = self._get(self._decoded)
            if batch is None:
                workers -= 1
                continue
            running.append(batch)
            yield batch.images

    def _decode(self, remaining: "_Shared") -> None:
        try:
            for recording in remaining:
                for batch in _batches(recording, self._batch_size, self._limit):
                    self._put(self._decoded, batch)
            self._put(self._decoded, None)
        except _StoppedError:
            pass
        except BaseException as error:
            self._fail(error)

    def _write(self) -> None:
        """Recordings arrive interleaved when several are decoded at once: one open writer each."""
        with contextlib.ExitStack() as everything, ThreadPoolExecutor(self._workers) as encoders:
            writers: dict[str, tuple[contextlib.ExitStack, ColumnarWriter]] = {}
            try:
                while (batch := self._get(self._detected)) is not None:
                    key = batch.recording.key
                    if key not in writers and batch.heatmaps is not None:
                        stack = everything.enter_context(contextlib.ExitStack())
                        writers[key] = stack, stack.enter_context(self._open_writer(batch.recording))
                    if batch.heatmaps is not None:
                        writer = writers[key][1]
                        writer.append(batch.recording.split, self._columns(batch, writer, encoders))
                    if batch.last:
                        self._finish(batch, writers.pop(key, None))
            except BaseException as error:
                self._fail(error)
                # Raised again so that the open writers remove what they began.
                with contextlib.suppress(BaseException):
                    everything.__exit__(type(error), error, None)
                everything.pop_all()

    def _finish(self, batch: _Batch, entry: tuple[contextlib.ExitStack, ColumnarWriter] | None) -> None:
        if entry is None and len(batch.frames):
            raise DiffPoseError(f"{batch.recording.key}: annotated frames but no image: check its files")
        if entry is not None:
            entry[0].close()
        self._on_done(batch.recording, 0 if entry is None else sum(entry[1].num_rows.values()))

    def _columns(
        self, batch: _Batch, writer: ColumnarWriter, encoders: ThreadPoolExecutor
    ) -> dict[str, np.ndarray | list[bytes]]:
        rows = slice(batch.start, batch.start + len(batch.heatmaps))
        columns: dict[str, np.ndarray | list[bytes]] = {
            name: values[rows] for name, values in batch.frames.columns.items()
        }
        columns["heatmap"] = list(encoders.map(self._encode, batch.heatmaps))
        columns["argmax_2d"] = argmax_2d(batch.heatmaps).reshape(-1, *writer.fields["argmax_2d"].shape)
        columns["hardsubset"] = is_ambiguous(batch.heatmaps)
        return columns

    def _fail(self, error: BaseException) -> None:
        if self._failure is None and not isinstance(error, _StoppedError):
            self._failure = error
        self._stop.set()

    def _put(self, into: queue.Queue, item: object) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                return into.put(item, timeout=0.2)
        raise _StoppedError

    def _get(self, source: queue.Queue) -> "_Batch | None":
        while not self._stop.is_set():
            with contextlib.suppress(queue.Empty):
                return source.get(timeout=0.2)
        raise _StoppedError


class _Shared:
    """One iterator for several threads."""

    def __init__(self, items: Iterable[Recording]):
        self._items, self._lock = iter(items), threading.Lock()

    def __iter__(self) -> Iterator[Recording]:
        while True:
            with self._lock:
                item = next(self._items, None)
            if item is None:
                return
            yield item
