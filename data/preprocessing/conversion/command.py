"""The command line that the preprocessing scripts share: raw data -> detector -> one HDF5 file."""

import argparse
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from data.ambiguity import HARD_SUBSET_RULE
from data.hdf5.access import text_attribute
from data.hdf5.columnar import encode_heatmap
from data.hdf5.compact import add_compact_option
from data.preprocessing.conversion.detector import DetectorPackage, HeatmapDetector
from data.preprocessing.conversion.frames import Recording, Source, require
from data.preprocessing.conversion.parts import PartFolder
from data.preprocessing.conversion.pipeline import Pipeline
from data.preprocessing.h36m.hard_list import WHERE_FROM, HardList
from utils.devices import choose_device
from utils.errors import DiffPoseError
from utils.memory import keep_freed_memory

COMPRESSIONS = ("none", *(f"gzip-{level}" for level in range(1, 10)))
# Maps with a detector's noise shrink by 7 to 15 % only, at any level, and are read eight times more slowly.
DEFAULT_COMPRESSION, COMPACT_COMPRESSION = "none", "gzip-4"


@dataclass(frozen=True)
class _Job:
    """What is to be made: the output, and what its content depends on."""

    output: Path
    kind: str
    weights: Path
    settings: dict[str, object]
    subjects: tuple[str, ...]
    hard_list: HardList | None

    @property
    def identity(self) -> str:
        hard = self.hard_list.sha256 if self.hard_list else HARD_SUBSET_RULE
        return json.dumps({**self.settings, "subjects": self.subjects, "hard_subset": hard})


def parse_arguments(
    source: Source, hrnet: DetectorPackage, description: str, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """The arguments of a preprocessing script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--input_dir", type=Path, required=True, help="the raw data (layout: docs/preprocessing.md)")
    parser.add_argument(
        "--output_dir", type=Path, required=True, help="gets the HDF5 file; DATASET.ROOT of the configuration"
    )
    parser.add_argument(
        "--use_orig_hrnet",
        action="store_true",
        help=f"{hrnet.WEIGHT_FILES['orig']} instead of {hrnet.WEIGHT_FILES['h36m']}",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="HRNet weights (default: data/preprocessing/hrnet/)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="decoding threads (default: by device and cores)")
    parser.add_argument(
        "--subjects", nargs="+", metavar="NAME", help=f"some of {' '.join(source.subjects)} (default: all)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most N rows per recording: for a trial run")
    if source.dataset == "h36m":
        parser.add_argument("--hard_subset", type=Path, metavar="FILE", help=f"list of ambiguous frames: {WHERE_FROM}")
    about = f"of the heatmaps, without loss: none, gzip-1..gzip-9 (default: {DEFAULT_COMPRESSION}, with --compact "
    about += f"{COMPACT_COMPRESSION})"
    parser.add_argument("--compression", choices=COMPRESSIONS, metavar="NAME", help=about)
    add_compact_option(parser)
    parser.add_argument("--batch_size", type=int, metavar="N", help="images per network call (default: by device)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", choices=sorted(hrnet.PRECISIONS), default="float32", help="of the network")
    parser.add_argument("--force", action="store_true", help="replace an output made with other settings")
    parsed = parser.parse_args(arguments)
    for name in ("workers", "limit", "batch_size"):
        if getattr(parsed, name) is not None and getattr(parsed, name) < 1:
            raise DiffPoseError(f"--{name} must be at least 1")
    if parsed.compression is None:
        parsed.compression = COMPACT_COMPRESSION if parsed.compact else DEFAULT_COMPRESSION
    elif parsed.compact and parsed.compression == "none":
        raise DiffPoseError("--compact saves room only with --compression gzip-1..gzip-9: leave one of them out")
    unknown = sorted(set(parsed.subjects or ()) - set(source.subjects))
    if unknown:
        raise DiffPoseError(f"--subjects {' '.join(unknown)}: the subjects are {', '.join(source.subjects)}")
    return parsed


def _job(source: Source, hrnet: DetectorPackage, arguments: argparse.Namespace) -> _Job:
    kind = "orig" if arguments.use_orig_hrnet else "h36m"
    weights = hrnet.weights_path(kind, arguments.weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else ""
    subjects = tuple(name for name in source.subjects if name in (arguments.subjects or source.subjects))
    listed = getattr(arguments, "hard_subset", None)
    return _Job(
        output=arguments.output_dir / f"{source.file_stem}_dataset_{kind}_hrnet.h5",
        kind=kind,
        weights=weights,
        settings={
            "weights": digest,
            "precision": arguments.precision,
            "compression": arguments.compression,
            "limit": arguments.limit,
            # Absent otherwise: files and parts that were made before there was this option are still found.
            **({"compact": str(arguments.compact)} if arguments.compact else {}),
        },
        subjects=subjects,
        hard_list=HardList(listed) if listed else None,
    )


def _is_made(job: _Job, force: bool) -> bool:
    """Whether the output is there with the same settings; DiffPoseError when it is another file."""
    if not job.output.exists() or force:
        return False
    try:
        with h5py.File(job.output, "r", locking=False) as file:
            made = text_attribute(file["dataset"], "settings")
    except (OSError, KeyError, ValueError):
        made = None
    if made != job.identity:
        raise DiffPoseError(
            f"{job.output}: exists and was made with other settings: give another --output_dir, or --force"
        )
    return True


def preprocess(
    source: Source, hrnet: DetectorPackage, description: str, arguments: Sequence[str] | None = None
) -> None:
    """Make the file of a raw data set, going on where an interrupted run stopped.

    Raises DiffPoseError for whatever is missing, damaged or not understood.
    """
    keep_freed_memory()
    options = parse_arguments(source, hrnet, description, arguments)
    require(options.input_dir, "folder")
    job = _job(source, hrnet, options)
    if _is_made(job, options.force):
        print(f"{job.output} is already there with these settings: nothing to do (--force makes it again)")
        # Where another run is at work, or the recordings are of other settings, they stay.
        with contextlib.suppress(DiffPoseError):
            _remove_left_parts(source, job, options)
        return
    start = time.monotonic()
    device = choose_device(options.device)
    model = hrnet.load_hrnet(job.weights)
    recordings = source.recordings(options.input_dir, job.subjects)
    _, _, level = options.compression.partition("-")
    encode = partial(encode_heatmap, level=int(level) if level else None, compact=options.compact)
    with _part_folder(source, job, options) as parts:
        left = [recording for recording in recordings if not parts.is_done(recording)]
        if len(left) < len(recordings):
            print(f"{len(recordings) - len(left)} of {len(recordings)} recordings are finished already")
        for recording in left:
            parts.path(recording).unlink(missing_ok=True)
        detector = hrnet.Detector(model, device=device, precision=options.precision)
        workers, batch_size = _amounts(options, device.type)
        _detect(
            left,
            len(recordings),
            parts,
            detector,
            workers=workers,
            batch_size=batch_size,
            limit=options.limit,
            encode=encode,
        )
        num_rows, num_hard = _assemble(source, job, recordings, parts, options)
        parts.remove(recordings)
    hard = f"{num_hard} hard ({HARD_SUBSET_RULE})"
    if job.hard_list:
        hard = f"hard list: {num_hard} of {job.hard_list.num_frames} lines matched"
    size = job.output.stat().st_size / 1e9
    print(f"{job.output}: {num_rows} rows, {hard}; {size:.2f} GB in {time.monotonic() - start:.0f} s")
    print(f"check it: python data/preprocessing/validate.py {job.output}")


def _part_folder(source: Source, job: _Job, options: argparse.Namespace) -> PartFolder:
    compression, _, level = options.compression.partition("-")
    return PartFolder(
        job.output,
        dataset=source.dataset,
        settings=job.settings,
        heatmap_compression=None if compression == "none" else compression,
        level=int(level or 0),
        compact=options.compact,
    )


def _remove_left_parts(source: Source, job: _Job, options: argparse.Namespace) -> None:
    """Of a run that was killed when its output was in place and its parts were not all deleted."""
    if job.output.with_name(job.output.name + ".parts").is_dir():
        with _part_folder(source, job, options) as parts:
            parts.remove(source.recordings(options.input_dir, job.subjects))


def _amounts(options: argparse.Namespace, device: str) -> tuple[int, int]:
    """Decoding threads and batch size. On the CPU the network needs the cores; a GPU waits for decoders."""
    cores = os.cpu_count() or 1
    workers = options.workers or (min(2, cores) if device == "cpu" else max(2, min(16, cores)))
    return workers, options.batch_size or (8 if device == "cpu" else 64)


def _detect(
    left: list[Recording],
    total: int,
    parts: PartFolder,
    detector: HeatmapDetector,
    *,
    workers: int,
    batch_size: int,
    limit: int | None,
    encode: Callable[[np.ndarray], bytes],
) -> None:
    images, start = 0, time.monotonic()
    with tqdm(total=total, initial=total - len(left), unit="recording", desc="detect") as bar:

        def on_done(recording: Recording, num_rows: int) -> None:
            nonlocal images
            images += num_rows
            bar.set_postfix_str(f"{images} images, {images / (time.monotonic() - start):.1f}/s", refresh=False)
            bar.update()

        Pipeline(
            detector=detector,
            open_writer=parts.writer,
            on_done=on_done,
            encode=encode,
            batch_size=batch_size,
            workers=workers,
            limit=limit,
        ).run(left)


def _assemble(
    source: Source, job: _Job, recordings: list[Recording], parts: PartFolder, options: argparse.Namespace
) -> tuple[int, int]:
    """(rows, hard rows) of the finished file."""
    hard = HARD_SUBSET_RULE
    if job.hard_list:
        hard = f"list {job.hard_list.path.name}, sha256 {job.hard_list.sha256[:12]}"
    attrs = {
        "source": source.source,
        "detector": f"HRNet-W32 {job.weights.name}, sha256 {job.settings['weights'][:12]}, {options.precision}",
        "units": source.units,
        "hard_subset": hard,
        "settings": job.identity,
    }
    num_rows = parts.num_rows(recordings)
    if not num_rows:
        raise DiffPoseError(
            f"{options.input_dir}: no annotated frames in {len(recordings)} recordings: check --input_dir"
        )
    with tqdm(total=num_rows, unit="row", desc="assemble") as bar:
        mark = job.hard_list.mark if job.hard_list else None
        num_hard = parts.assemble(recordings, attrs=attrs, mark_hard=mark, on_rows=bar.update)
    return num_rows, num_hard
