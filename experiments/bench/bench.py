"""Measure speed and memory against the plain reference: ``python experiments/bench/bench.py`` (or ``make bench``).

Every case runs in a process of its own and times its variants in turn, A B C A B C .., so that a machine whose speed
drifts is fair to all; the median counts. Writes a JSON file; experiments/bench/table.py makes the README's table of it.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from experiments.bench.plain import PlainModel, PlainTrainer, all_metrics
from experiments.bench.surroundings import dataset, demo, hrnet
from experiments.bench.timing import medians, peak_mb, synchronise
from models import build_model
from models.sampling import PoseSampler
from models.trainer import Trainer
from utils.config import Config, change_config, load_config
from utils.devices import choose_device
from utils.errors import DiffPoseError, run_script
from utils.frame_scores import score_frames
from utils.randomness import FrameDraws
from utils.report import write_text

ROOT = Path(__file__).resolve().parents[2]
BATCH, HYPOTHESES = 64, 200


def main_config(*overrides: str) -> Config:
    return change_config(load_config(ROOT / "diffpose.yaml"), list(overrides))


def heatmaps_and_targets(frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Detector-like maps (B, 16, 64, 64) float16, a peak on a faint floor, and targets (B, 16, 3) in metres."""
    generator = torch.Generator().manual_seed(0)
    centre = 12 + 40 * torch.rand(frames, 16, 2, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    peak = torch.exp(-((x - centre[:, :, 0]) ** 2 + (y - centre[:, :, 1]) ** 2) / 8)
    maps = peak + 0.002 * torch.randn(frames, 16, 64, 64, generator=generator)
    return maps.half().to(device), (torch.randn(frames, 16, 3, generator=generator) / 4).to(device)


def ceilings(device: torch.device, repeats: int) -> dict:
    """What a large matrix product reaches, GFLOP/s."""
    found = {}
    size = 8192 if device.type == "cuda" else 2048
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        seconds = medians({"": lambda a=a, b=b: a @ b}, device, repeats=5 * repeats)[""]
        found[str(dtype).removeprefix("torch.")] = 2 * size**3 / seconds / 1e9
    return {"gflops": found}


def training(device: torch.device, repeats: int) -> dict:
    """A training step of the main configuration, batch 64: draws, dropout, backward, optimiser and EMA."""
    maps, targets = heatmaps_and_targets(BATCH, device)
    config = main_config("TRAIN.NUM_STEPS=1000000000")
    plain = PlainTrainer(build_model(config).to(device), rate=1e-4, ema_decay=0.995)

    def forever():
        while True:
            yield {"heatmap": maps, "target_m": targets}

    def ours(*overrides: str) -> Callable[[], None]:
        settings = change_config(config, list(overrides))
        trainer = Trainer(build_model(settings).to(device), settings, seed=0)
        return lambda: trainer.fit(forever(), after_step=lambda result: True)

    variants = {
        "plain": lambda: plain.step(maps.float(), targets),
        "float32": ours("TRAIN.AMP=false"),
        "bfloat16": ours("TRAIN.AMP_DTYPE=bfloat16"),
    }
    return {"seconds": medians(variants, device, repeats=5 * repeats), "batch": BATCH}


def samplers(device: torch.device) -> tuple[PlainModel, dict[str, PoseSampler]]:
    model = build_model(main_config()).to(device).eval()
    precisions = ("float32", "bfloat16")
    return PlainModel(model), {p: PoseSampler(model, num_hypotheses=HYPOTHESES, precision=p) for p in precisions}


def sampling(device: torch.device, repeats: int) -> dict:
    """8 images x 200 hypotheses x 25 steps."""
    maps, _ = heatmaps_and_targets(8, device)
    plain, fast = samplers(device)
    draws = FrameDraws(0, range(8), device=device)
    variants = {"plain": lambda: plain.sample(maps, HYPOTHESES)}
    variants |= {name: lambda sampler=sampler: sampler(maps, draws) for name, sampler in fast.items()}
    return {"seconds": medians(variants, device, repeats=repeats), "hypotheses": 8 * HYPOTHESES}


def sampling_memory(device: torch.device, repeats: int) -> dict:
    """Peak memory of sampling 64 x 200 in float32."""
    maps, _ = heatmaps_and_targets(BATCH, device)
    samplers(device)[1]["float32"](maps, FrameDraws(0, range(BATCH), device=device))
    return {"peak_mb": peak_mb(device)}


def metrics(device: torch.device, repeats: int) -> dict:
    """All metrics of 64 frames x 200 hypotheses."""
    generator = torch.Generator().manual_seed(0)
    truth = 300 * torch.randn(BATCH, 17, 3, generator=generator)
    hypotheses = truth[:, None] + 80 * torch.randn(BATCH, HYPOTHESES, 17, 3, generator=generator)
    hypotheses, truth = hypotheses.to(device), truth.to(device)
    skeleton = build_model(main_config()).skeleton
    variants = {
        "plain": lambda: all_metrics(hypotheses, truth, skeleton),
        "float32": lambda: score_frames(hypotheses, None, truth, skeleton),
    }
    return {"seconds": medians(variants, device, repeats=3 * repeats), "poses": BATCH * HYPOTHESES}


def evaluation(device: torch.device, repeats: int, *, frames: int) -> dict:
    """Sampling and scoring, a batch at a time; seconds a frame."""
    maps, _ = heatmaps_and_targets(frames, device)
    truth = (300 * torch.randn(frames, 17, 3, generator=torch.Generator().manual_seed(0))).to(device)
    plain, fast = samplers(device)
    draws = FrameDraws(0, range(frames), device=device)
    skeleton = plain.model.skeleton

    def ours(sampler: PoseSampler) -> None:
        samples = sampler(maps, draws)
        score_frames(samples.hypotheses_mm, samples.zero_noise_mm, truth, skeleton)

    variants = {name: lambda sampler=sampler: ours(sampler) for name, sampler in fast.items()}
    seconds = medians(variants, device, repeats=repeats)
    memory = peak_mb(device)
    # Last and once: at batch 64 the plain way takes minutes and many GB, and would set the peak.
    start = time.perf_counter()
    all_metrics(plain.sample(maps, HYPOTHESES), truth, skeleton)
    synchronise(device)
    seconds = {"plain": time.perf_counter() - start} | seconds
    return {"seconds": {name: value / frames for name, value in seconds.items()}, "peak_mb": memory}


CASES: dict[str, Callable[[torch.device, int], dict]] = {
    "ceilings": ceilings,
    "training": training,
    "sampling": sampling,
    "sampling_memory": sampling_memory,
    "metrics": metrics,
    "evaluation_batch_8": lambda device, repeats: evaluation(device, repeats, frames=8),
    "evaluation_batch_64": lambda device, repeats: evaluation(device, repeats, frames=64),
    "dataset": dataset,
    "hrnet": hrnet,
    "demo": demo,
}


def machine(device: torch.device) -> dict:
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.is_file():
        lines = cpu_info.read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
        flags = next((line for line in lines if line.startswith("flags")), "")
        name += f" ({', '.join(flag for flag in ('avx512_bf16', 'amx_bf16') if flag in flags) or 'no bfloat16 units'})"
    return {
        "cpu": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None, "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python", "experiments/bench/bench.py", *sys.argv[1:]]),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--only", nargs="+", choices=CASES, help="only these cases")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds of the longer cases")
    parser.add_argument("--output", default=str(ROOT / "output" / "bench.json"), help="the JSON file to write")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = choose_device(args.device)
    if args.case:
        print(json.dumps(CASES[args.case](device, args.repeats)))
        return 0
    found = {"machine": machine(device), "cases": {}}
    for case in args.only or CASES:
        command = [sys.executable, __file__, "--case", case, "--device", args.device, "--repeats", str(args.repeats)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise DiffPoseError(f"case {case} failed: {(result.stderr.strip().splitlines() or ['no message'])[-1]}")
        found["cases"][case] = json.loads(result.stdout.splitlines()[-1])
        print(f"{case}: {json.dumps(found['cases'][case])}", flush=True)
    write_text(Path(args.output), json.dumps(found, indent=1) + "\n")
    print(f"written to {args.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
