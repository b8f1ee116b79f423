"""The finished recordings of an unfinished file, and their assembly.

A run can end at any moment. Each recording is therefore a small file of its own in ``<output>.parts``, put in place by
a rename when it is whole; a rerun skips those. When all are there they are copied, in order and without touching the
compressed heatmaps, into the output, which gets its name by a rename too.
"""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import h5py
import numpy as np

from data.hdf5.access import open_hdf5, text_attribute
from data.hdf5.columnar import ColumnarWriter, read_blocks
from data.hdf5.compact import CompactForm
from data.preprocessing.conversion.frames import Recording
from utils.errors import DiffPoseError
from utils.files import written_in_one_step


def _fingerprint(recording: Recording) -> str:
    return json.dumps([[path.name, path.stat().st_size] for path in recording.inputs])


class PartFolder:
    """``<output>.parts``: a context manager that keeps other runs out.

    Args:
        output: the file to be made.
        dataset: ``h36m``, ``3dhp``, ``3dpw`` or ``skipose``.
        settings: what the content of a part depends on.
        heatmap_compression, level, compact: as of :class:`~data.hdf5.columnar.ColumnarWriter`.

    Raises DiffPoseError on entry when another run is at work on the same output, when the folder holds recordings made
    with other settings, or can't be written.
    """

    def __init__(
        self,
        output: Path,
        *,
        dataset: str,
        settings: Mapping[str, object],
        heatmap_compression: str | None,
        level: int,
        compact: CompactForm | None = None,
    ):
        self.output, self.dataset = output, dataset
        self.folder = output.with_name(output.name + ".parts")
        self._settings = dict(settings)
        self._storage = {"heatmap_compression": heatmap_compression, "level": level, "compact": compact}
        self._lock: TextIO | None = None

    def __enter__(self) -> "PartFolder":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise DiffPoseError(f"{self.folder}: cannot be written ({error.strerror}): check --output_dir") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise DiffPoseError(f"{self.output}: another run is making it: wait for it, or end it") from None
        try:
            self._check_settings()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.close()

    def _check_settings(self) -> None:
        path = self.folder / "settings.json"
        if path.exists():
            with contextlib.suppress(OSError, ValueError):
                before = json.loads(path.read_text())
                if before == self._settings:
                    return
                # A setting that was or is at its default may have no entry.
                both = {**self._settings, **before}
                names = [name for name in both if before.get(name) != self._settings.get(name)]
                raise DiffPoseError(
                    f"{self.folder}: holds recordings made with another --{' and --'.join(names)}: "
                    "go on with the same, or delete that folder"
                )
        # Parts without readable settings are of unknown making.
        for part in self.folder.glob("*.h5"):
            part.unlink()
        with written_in_one_step(path, way_out="check free space") as partial:
            partial.write_text(json.dumps(self._settings))

    def path(self, recording: Recording) -> Path:
        """Where the finished recording is, or will be."""
        return self.folder / f"{recording.key}.h5"

    def writer(self, recording: Recording) -> ColumnarWriter:
        """For the rows of one recording."""
        attrs = {"source": f"part of {self.output.name}", "inputs": _fingerprint(recording)}
        return ColumnarWriter(self.path(recording), dataset=self.dataset, attrs=attrs, **self._storage)

    def is_done(self, recording: Recording) -> bool:
        """Whether the recording is finished, and its raw files are still the same."""
        path = self.path(recording)
        try:
            with h5py.File(path, "r", locking=False) as file:
                return text_attribute(file["dataset"], "inputs") == _fingerprint(recording)
        except (OSError, KeyError, ValueError):
            return False

    def num_rows(self, recordings: Sequence[Recording]) -> int:
        """Rows of the finished ones among ``recordings``."""
        total = 0
        for recording in recordings:
            if self.path(recording).exists():
                with open_hdf5(self.path(recording), self.dataset) as file:
                    total += len(file[f"dataset/{recording.split}/action"])
        return total

    def assemble(
        self,
        recordings: Sequence[Recording],
        *,
        attrs: Mapping[str, object],
        mark_hard: Callable[[Mapping[str, np.ndarray]], np.ndarray] | None = None,
        on_rows: Callable[[int], object] = lambda rows: None,
    ) -> int:
        """Make the output out of the parts of ``recordings``, in that order; the number of hard rows.

        Recordings without a part had no rows. ``mark_hard`` (columns -> (N,) bool) replaces the stored marks.
        ``on_rows`` is called with the number of rows after each block.
        """
        parts = [(recording.split, self.path(recording)) for recording in recordings if self.path(recording).exists()]
        self._check_space(sum(part.stat().st_size for _, part in parts))
        num_hard = 0
        with ColumnarWriter(self.output, dataset=self.dataset, attrs=attrs, **self._storage) as writer:
            for split, part in parts:
                for columns in self._blocks(part, split):
                    if mark_hard is not None:
                        columns["hardsubset"] = mark_hard(columns)
                    writer.append(split, columns)
                    num_hard += int(np.count_nonzero(columns["hardsubset"]))
                    on_rows(len(columns["action"]))
        return num_hard

    def _blocks(self, part: Path, split: str) -> Iterator[dict[str, np.ndarray | list[bytes]]]:
        with open_hdf5(part, self.dataset) as file:
            yield from read_blocks(file["dataset"][split], part)

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise DiffPoseError(
                f"{self.output}: assembling it needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: "
                f"make room and run again (all recordings are kept in {self.folder.name})"
            )

    def remove(self, recordings: Sequence[Recording]) -> None:
        """Delete the parts of ``recordings`` once the output is in place, and the folder if no others are left."""
        for recording in recordings:
            self.path(recording).unlink(missing_ok=True)
        if not list(self.folder.glob("*.h5")):
            shutil.rmtree(self.folder, ignore_errors=True)
