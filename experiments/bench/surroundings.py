"""Benchmark cases around the model: datasets, the 2D detector and the demo. See experiments/bench/bench.py."""

import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch

from data.hdf5.columnar import ColumnarWriter, encode_heatmap
from data.loader import make_loader
from data.pose_dataset import PoseDataset
from data.schema import FIELDS
from data.synthetic.build import BuildParameters, build
from demo import PoseEstimator
from demo.onnx_chain import lift, open_run
from experiments.bench.timing import medians, peak_mb
from models.build import build_model
from models.export import export_run
from models.hrnet import IMAGE_MEAN, IMAGE_SIZE, IMAGE_STD, Detector, HRNet
from utils.config import Config

LARGE_ROWS, SMALL_ROWS = 390_000, 2_000
BATCH, WORKERS = 64, 2
IMAGES = 16


def _enlarge(small: Path, path: Path, rows: int) -> None:
    """``rows`` training rows in the columnar layout, out of a small file's first; of the maps the peaks alone."""
    with h5py.File(small, locking=False) as file:
        columns = {name: file["dataset/trainset"][name][:16] for name in FIELDS["h36m"]}
    stored = [encode_heatmap(np.where(maps > 0.3, maps, 0), level=9) for maps in columns.pop("heatmap")]
    with ColumnarWriter(path, dataset="h36m", attrs={"source": "synthetic: benchmark of opening"}) as writer:
        for start in range(0, rows, 5000):
            numbers = np.arange(start, min(start + 5000, rows))
            block = {name: values[numbers % 16] for name, values in columns.items()}
            writer.append("trainset", block | {"heatmap": [stored[number % 16] for number in numbers]})


def dataset(device: torch.device, repeats: int) -> dict:
    """Opening a split of 390,000 rows and its first shuffled batch; rows/s fed from a file of the usual compression."""
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name) / "small.h5", Path(name) / "large.h5"
        build(small, BuildParameters(SMALL_ROWS, 200, 0), workers=WORKERS)
        _enlarge(small, large, LARGE_ROWS)
        with multiprocessing.get_context("spawn").Pool(1) as process:  # its memory is the dataset's alone
            opened = process.apply(_open_and_read, (large,))
        rates = []
        for _ in range(repeats):
            batches = iter(
                make_loader(
                    PoseDataset(small, show_progress=False),
                    batch_size=BATCH,
                    workers=WORKERS,
                    shuffle=True,
                    endless=True,
                )
            )
            next(batches)
            start = time.perf_counter()
            for batch in itertools.islice(batches, 2 * SMALL_ROWS // BATCH):
                assert len(batch["row"]) == BATCH
            rates.append(2 * SMALL_ROWS // BATCH * BATCH / (time.perf_counter() - start))
            del batches
    return {"rows": LARGE_ROWS, **opened, "loader_rows_per_s": sorted(rates)[len(rates) // 2], "workers": WORKERS}


def _open_and_read(path: Path) -> dict:
    before = peak_mb()
    start = time.perf_counter()
    opened = PoseDataset(path, show_progress=False)
    seconds = time.perf_counter() - start
    batches = iter(make_loader(opened, batch_size=BATCH, shuffle=True))
    next(batches)
    first = time.perf_counter() - start - seconds
    return {"open_s": seconds, "first_batch_s": first, "peak_mb": peak_mb(), "imports_mb": before}


def hrnet(device: torch.device, repeats: int) -> dict:
    """HRNet-W32 on images of 255 x 255 with random weights: seconds an image, plain ones one at a time."""
    torch.manual_seed(0)
    images = np.random.default_rng(0).uniform(0, 255, (IMAGES, IMAGE_SIZE, IMAGE_SIZE, 3)).astype(np.float32)
    model = HRNet().eval()
    state = model.state_dict()
    model.to(device)
    mean, std = (torch.tensor(values, device=device) for values in (IMAGE_MEAN, IMAGE_STD))

    @torch.inference_mode()
    def plain() -> None:
        for image in images:
            pixels = (torch.from_numpy(image).to(device) / 255 - mean) / std
            model(pixels.permute(2, 0, 1)[None].contiguous()).half().cpu()

    variants: dict[str, Callable[[], object]] = {"plain": plain}
    for precision in ("float32", "bfloat16"):
        copy = HRNet()
        copy.load_state_dict(state)
        detector = Detector(copy, device=device, precision=precision)
        variants[precision] = partial(detector.__call__, images)
    seconds = medians(variants, device, repeats=repeats)
    return {"seconds": {name: value / IMAGES for name, value in seconds.items()}, "images": IMAGES}


def demo(device: torch.device, repeats: int) -> dict:
    """One person's heatmaps -> 200 hypotheses, consensus and modes by the shipped model, warm; seconds."""
    estimator = PoseEstimator.load(device=str(device))
    generator = torch.Generator().manual_seed(0)
    centre = 12 + 40 * torch.rand(1, 16, 2, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    maps = torch.exp(-((x - centre[:, :, 0]) ** 2 + (y - centre[:, :, 1]) ** 2) / 8)
    return {"seconds": medians({"ours": lambda: estimator.from_heatmaps(maps)}, device, repeats=repeats)}


def exported_chain(config: Config, maps: np.ndarray) -> Callable[[], object]:
    """The ONNX export's whole chain, candidates drawn in numpy: maps (N, 16, 64, 64) -> 200 poses each."""
    with tempfile.TemporaryDirectory() as name:
        export_run(config, build_model(config), Path(name), kind="onnx")
        chain, embed, denoise = open_run(name)
    return lambda: lift(maps, 200, np.random.default_rng(0), chain, embed, denoise)
