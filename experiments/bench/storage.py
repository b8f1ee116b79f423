"""What the compact form of heatmaps saves and costs: ``python experiments/bench/storage.py --file FILE.h5``.

Takes the first rows of a columnar file's test split, as they are and with noise on every cell (which stands for a
detector's, and is what real maps hardly compress for), and stores each in every form: bytes and processor time a row,
and how far the distribution that candidates are drawn from moves. With ``--run`` a trained model samples poses from
each form, with the same draws. Prints a table and writes a JSON file.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this project's modules before any others

from data.hdf5.access import read_rows
from data.hdf5.columnar import encode_heatmap
from data.hdf5.compact import AS_PUBLISHED, DEFAULT_MANTISSA_BITS, CompactForm
from data.hdf5.split_file import SplitFile
from data.pose_dataset import PoseDataset
from experiments.bench.bench import machine
from models import build_sampler
from models.run import load_run
from utils.errors import DiffPoseError, finite, run_script
from utils.evaluation.frame_scores import score_frames
from utils.evaluation.metrics import METRICS
from utils.evaluation.report import write_text
from utils.randomness import FrameDraws

ROOT = Path(__file__).resolve().parents[2]
LEVEL = 4
_BLOCK_ROWS = 20
_BATCH = 8
_MPJPE = [metric.key for metric in METRICS].index("mpjpe")


def with_noise(maps: np.ndarray, std: float) -> np.ndarray:
    """Maps (N, 16, 64, 64) as float16 with Gaussian noise on every cell; row n's is the same in whatever company."""
    noisy = np.empty(maps.shape, np.float16)
    for row, values in enumerate(maps):
        noise = np.random.default_rng([row]).normal(0, std, values.shape)
        noisy[row] = values + noise
    return noisy


def encode_all(
    maps: np.ndarray, forms: dict[str, Callable[[np.ndarray], bytes]]
) -> tuple[dict[str, list[bytes]], dict[str, float]]:
    """The stored rows of each form, and the processor's ms a row; forms take turns, block by block."""
    rows: dict[str, list[bytes]] = {name: [] for name in forms}
    seconds = dict.fromkeys(forms, 0.0)
    for start in range(0, len(maps), _BLOCK_ROWS):
        for name, encode in forms.items():
            begin = time.process_time()
            rows[name] += [encode(values) for values in maps[start : start + _BLOCK_ROWS]]
            seconds[name] += time.process_time() - begin
    return rows, {name: 1000 * value / len(maps) for name, value in seconds.items()}


def decode_all(rows: dict[str, list[bytes]], shape: Sequence[int]) -> dict[str, float]:
    """The processor's ms a row to read each form back as the dataset does, out of a file in memory, in turn."""
    with h5py.File("rows.h5", "w", driver="core", backing_store=False, libver=("v110", "v110"), rdcc_nbytes=0) as file:
        for name, chunks in rows.items():
            packed = len(chunks[0]) < 2 * np.prod(shape)
            options = {"compression": "gzip", "compression_opts": LEVEL, "shuffle": True} if packed else {}
            column = file.create_dataset(name, (len(chunks), *shape), "<f2", chunks=(1, *shape), **options)
            for row, chunk in enumerate(chunks):
                column.id.write_direct_chunk((row, 0, 0, 0), chunk)
        seconds = dict.fromkeys(rows, 0.0)
        total = len(next(iter(rows.values())))
        for start in range(0, total, _BLOCK_ROWS):
            wanted = np.arange(start, min(start + _BLOCK_ROWS, total))
            out = np.empty((len(wanted), *shape), "<f2")
            for name in rows:
                begin = time.process_time()
                read_rows(file[name], wanted, out, Path("rows.h5"), name)
                seconds[name] += time.process_time() - begin
    return {name: 1000 * value / total for name, value in seconds.items()}


def distribution_change(maps: np.ndarray, form: CompactForm) -> dict[str, float]:
    """How far compacting moves the candidates of maps (N, 16, 64, 64).

    ``tv_mean`` and ``tv_max``: total variation between a map's cell probabilities (clamped at 0, normalised) before
    and after: the share of candidates that changes. ``argmax_kept``: share of maps whose first maximum stays.
    """
    distances, kept = [], []
    for start in range(0, len(maps), _BLOCK_ROWS):
        block = maps[start : start + _BLOCK_ROWS]
        flat = [part.reshape(*part.shape[:2], -1).astype(np.float32) for part in (block, form(block))]
        chances = [np.maximum(part, 0) / np.maximum(part, 0).sum(axis=-1, keepdims=True, dtype=float) for part in flat]
        distances.append(np.abs(chances[0] - chances[1]).sum(axis=-1) / 2)
        kept.append(flat[0].argmax(axis=-1) == flat[1].argmax(axis=-1))
    distance = np.concatenate(distances)
    return {
        "tv_mean": float(distance.mean()),
        "tv_max": float(distance.max()),
        "argmax_kept": float(np.concatenate(kept).mean()),
    }


def storage(maps: np.ndarray, forms: dict[str, CompactForm]) -> dict[str, dict[str, float]]:
    """Bytes, times and change of the distribution of maps in every form; the uncompressed and the published first."""
    encoders: dict[str, Callable[[np.ndarray], bytes]] = {
        "uncompressed": lambda values: encode_heatmap(values, level=None),
        AS_PUBLISHED: lambda values: encode_heatmap(values, level=LEVEL),
    }
    for name, form in forms.items():
        encoders[name] = partial(encode_heatmap, level=LEVEL, compact=form)
    rows, encode_ms = encode_all(maps, encoders)
    decode_ms = decode_all(rows, maps.shape[1:])
    found = {}
    for name, chunks in rows.items():
        found[name] = {
            "kib": sum(map(len, chunks)) / len(chunks) / 1024,
            "encode_ms": encode_ms[name],
            "decode_ms": decode_ms[name],
        }
        if name in forms:
            found[name] |= distribution_change(maps, forms[name])
    return found


class PoseErrors:
    """MPJPE of a trained run on evenly spread test rows, for their heatmaps in whatever form.

    ``rows``: how many. Raises DiffPoseError for a run that cannot be loaded or does not look at heatmaps.
    """

    def __init__(self, config_path: Path, file: Path, *, rows: int, device: str = "cpu"):
        config, model, self.checkpoint = load_run(config_path, overrides=["TEST.PRECISION=bfloat16"], device=device)
        if config.model.condition_key != "heatmaps":
            raise DiffPoseError(f"{config_path}: MODEL.CONDITION_KEY is not heatmaps: choose another run")
        self.sampler, self.skeleton, self.device = build_sampler(model, config), model.skeleton, torch.device(device)
        self.num_hypotheses = config.test.num_hypo
        dataset = PoseDataset(file, dataset=config.dataset.dataset, split="test", show_progress=False)
        chosen = np.linspace(0, len(dataset) - 1, min(rows, len(dataset))).round().astype(int)
        items = dataset.__getitems__(chosen.tolist())
        self.rows = [int(item["row"]) for item in items]
        self.maps = torch.stack([item["heatmap"] for item in items]).numpy()
        self.truth = torch.stack([item["gt_mm"] for item in items])

    def __call__(self, maps: np.ndarray) -> dict[str, np.ndarray]:
        """MPJPE in mm, (N,) each, of the best hypothesis and of the mean pose."""
        found: dict[str, list[np.ndarray]] = {"best": [], "mean_pose": []}
        for start in range(0, len(maps), _BATCH):
            part = slice(start, start + _BATCH)
            draws = FrameDraws(0, self.rows[part], device=self.device)
            samples = self.sampler(torch.from_numpy(maps[part]).to(self.device), draws)
            scores = score_frames(samples.hypotheses_mm, None, self.truth[part].to(self.device), self.skeleton).scores
            for key, values in found.items():
                values.append(scores[key][:, _MPJPE])
        return {key: np.concatenate(values) for key, values in found.items()}


def accuracy(errors: PoseErrors, maps: np.ndarray, forms: dict[str, CompactForm]) -> dict[str, dict[str, float]]:
    """Mean MPJPE of every form; of the compact ones also the paired difference to the published and its std error."""
    reference = errors(maps)
    found = {AS_PUBLISHED: {key: float(values.mean()) for key, values in reference.items()}}
    for name, form in forms.items():
        found[name] = {}
        for key, values in errors(form(maps)).items():
            change = values - reference[key]
            found[name] |= {
                key: float(values.mean()),
                f"{key}_change": float(change.mean()),
                f"{key}_change_error": float(change.std(ddof=1) / len(change) ** 0.5),
            }
    return found


def label(form: CompactForm) -> str:
    """A form's name in tables."""
    return f"{form.threshold:g}, {form.mantissa_bits} bits"


def table(found: dict) -> str:
    """What was measured, a Markdown table for each kind of maps; below, the changes of pose errors."""
    lines = []
    for kind, part in found["maps"].items():
        lines += [
            f"{kind}:",
            "",
            "| form | KiB a row | encode, ms | decode, ms | TV, mean | TV, max | argmax kept |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, row in part["storage"].items():
            cells = [name, *(f"{row[key]:.2f}" for key in ("kib", "encode_ms", "decode_ms"))]
            cells += [f"{row[key]:.4f}" if key in row else "" for key in ("tv_mean", "tv_max", "argmax_kept")]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
        for name, scores in part.get("accuracy", {}).items():
            texts = []
            for key, what in (("best", "best hypothesis"), ("mean_pose", "mean pose")):
                change = f"{key}_change" in scores
                moved = f" ({scores[f'{key}_change']:+.2f} +- {scores[f'{key}_change_error']:.2f})" if change else ""
                texts.append(f"{what} {scores[key]:.2f} mm{moved}")
            lines.append(f"* {name}: {', '.join(texts)}")
        lines.append("")
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default="output/benchmark/benchmark.h5", help="columnar HDF5 file (h36m)")
    parser.add_argument("--rows", type=int, default=500, help="the first so many test rows are stored")
    parser.add_argument("--thresholds", type=finite, nargs="+", default=[0, 1e-3, 1e-2])
    parser.add_argument("--bits", type=int, nargs="+", default=[10, 6, 5, 4], help="of the mantissa")
    parser.add_argument("--noise", type=finite, default=0.002, help="standard deviation of the added noise")
    parser.add_argument("--run", type=Path, metavar="CONFIG", help="config.yaml of a trained run, to sample poses with")
    parser.add_argument("--run_rows", type=int, default=64, help="evenly spread test rows to sample poses for")
    parser.add_argument("--device", default="cpu", help="of the run")
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "storage.json", help="the JSON file to write")
    parsed = parser.parse_args()
    if min(parsed.rows, parsed.run_rows - 1, *parsed.bits) < 1 or max(parsed.bits) > 10 or parsed.noise < 0:
        raise DiffPoseError("--rows at least 1, --run_rows at least 2, --bits of 1 to 10, --noise at least 0")
    if not all(0 <= threshold < 1 for threshold in parsed.thresholds):
        raise DiffPoseError("--thresholds are of 0 to below 1")
    return parsed


def main() -> int:
    arguments = parse_arguments()
    settings = itertools.product(arguments.thresholds, arguments.bits)
    forms = {label(form): form for form in itertools.starmap(CompactForm, settings)}
    split = SplitFile(arguments.file, dataset="h36m", split="test")
    maps = split.read_heatmaps(np.arange(min(arguments.rows, split.num_rows)))
    kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as in the file": lambda values: values,
        f"with noise of {arguments.noise:g}": lambda values: with_noise(values, arguments.noise),
    }
    command = ["python", "experiments/bench/storage.py", *sys.argv[1:]]
    found = {
        "machine": machine(torch.device(arguments.device)) | {"command": " ".join(command)},
        "about": {"source": split.source, "rows": len(maps), "gzip_level": LEVEL},
        "maps": {kind: {"storage": storage(change(maps), forms)} for kind, change in kinds.items()},
    }
    if arguments.run:
        errors = PoseErrors(arguments.run, arguments.file, rows=arguments.run_rows, device=arguments.device)
        # Sampling takes longest: one number of bits, the one that --compact takes.
        sampled = {name: form for name, form in forms.items() if form.mantissa_bits == DEFAULT_MANTISSA_BITS}
        found["about"] |= {"run_rows": len(errors.rows), "hypotheses": errors.num_hypotheses, "precision": "bfloat16"}
        for kind, change in kinds.items():
            found["maps"][kind]["accuracy"] = accuracy(errors, change(errors.maps), sampled)
    print(table(found))
    write_text(arguments.output, json.dumps(found, indent=1) + "\n")
    print(f"written to {arguments.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
