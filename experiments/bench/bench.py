"""Measure speed and memory against the plain reference: ``python experiments/bench/bench.py`` (or ``make bench``).

Every case has a process of its own, and so has every variant of a step, of sampling, metrics and evaluation; variants
are timed in turn, A B C A B C .., so that a machine whose speed drifts is fair to all; the median counts. Writes a JSON
file; experiments/bench/table.py makes the table in docs/speed.md.
"""

import argparse
import importlib.util
import itertools
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this project's modules before any others

from experiments.bench.plain import PlainTrainer, all_metrics
from experiments.bench.surroundings import dataset, demo, exported_chain, hrnet
from experiments.bench.timing import medians, medians_apart, peak_mb, serve
from models import build_model, build_sampler, build_trainer
from models.fast.linear import PackedLinear
from models.reference import DiffPose
from models.samplers import PoseSampler
from utils.cell_lists import CellLists
from utils.config import Config, change_config, load_config
from utils.devices import choose_device
from utils.errors import DiffPoseError, run_script
from utils.evaluation.frame_scores import score_frames
from utils.evaluation.report import write_text
from utils.memory import keep_freed_memory
from utils.precision import usable_precision
from utils.randomness import FrameDraws
from utils.skeleton import skeleton_for

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
    """What a large matrix product reaches, GFLOP/s: PyTorch's own, or the one that our layers use if that is faster."""
    found = {}
    size = 8192 if device.type == "cuda" else 2048
    # A processor that would emulate bfloat16 takes minutes for one product, and no network here computes so.
    fast = usable_precision("bfloat16", device) == "bfloat16"
    for dtype in (torch.float32, torch.bfloat16) if fast else (torch.float32,):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        packed = PackedLinear(b, None, dtype)
        ways = {"torch": lambda a=a, b=b: a @ b, "ours": lambda a=a, packed=packed: packed(a)}
        seconds = min(medians(ways, device, repeats=5 * repeats).values())
        found[str(dtype).removeprefix("torch.")] = 2 * size**3 / seconds / 1e9
    return {"gflops": found}


def plain_training(device: torch.device) -> Callable[[], object]:
    maps, targets = heatmaps_and_targets(BATCH, device)
    trainer = PlainTrainer(DiffPose().to(device), rate=1e-4, ema_decay=0.995)
    return lambda: trainer.step(maps.float(), targets)


def training(device: torch.device, *overrides: str, as_lists: bool = False) -> Callable[[], object]:
    """Our training step, batch 64: draws, dropout, backward, optimiser and EMA; ``as_lists``: with TRAIN.ON_DEVICE."""
    from train import fit

    maps, targets = heatmaps_and_targets(BATCH, device)
    if as_lists:  # without the faint floor, with which the maps themselves would be smaller
        maps = CellLists.from_maps(torch.where(maps > 0.01, maps, 0))
    config = main_config("TRAIN.NUM_STEPS=1000000000", *overrides)
    trainer = build_trainer(build_model(config).to(device), config, seed=0)
    batches = itertools.repeat({"heatmap": maps, "target_m": targets})
    return lambda: fit(trainer, batches, after_step=lambda result: True)


def plain_sampling(device: torch.device, *, images: int) -> Callable[[], object]:
    maps, _ = heatmaps_and_targets(images, device)
    model = DiffPose().to(device).eval()
    return lambda: model.sample(maps, HYPOTHESES)


def sampling(
    device: torch.device, precision: str, *, images: int, overrides: Sequence[str] = ()
) -> Callable[[], object]:
    """So many images x 200 hypotheses, by the published chain of 25 steps or by a sampler that ``overrides`` name."""
    maps, _ = heatmaps_and_targets(images, device)
    sampler = our_sampler(device, precision, *overrides)
    return lambda: sampler(maps, FrameDraws(0, range(images), device=device))


def our_sampler(device: torch.device, precision: str, *overrides: str) -> PoseSampler:
    config = main_config(*overrides)
    return build_sampler(build_model(config).to(device), config, num_hypotheses=HYPOTHESES, precision=precision)


def sampling_memory(device: torch.device, repeats: int) -> dict:
    """Peak memory of sampling 64 x 200 in float32."""
    keep_freed_memory()
    maps, _ = heatmaps_and_targets(BATCH, device)
    our_sampler(device, "float32")(maps, FrameDraws(0, range(BATCH), device=device))
    return {"peak_mb": peak_mb(device)}


def poses_and_truth(frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Hypotheses (B, 200, 17, 3) about truths (B, 17, 3), mm."""
    generator = torch.Generator().manual_seed(0)
    truth = 300 * torch.randn(frames, 17, 3, generator=generator)
    hypotheses = truth[:, None] + 80 * torch.randn(frames, HYPOTHESES, 17, 3, generator=generator)
    return hypotheses.to(device), truth.to(device)


def plain_metrics(device: torch.device) -> Callable[[], object]:
    hypotheses, truth = poses_and_truth(BATCH, device)
    return lambda: all_metrics(hypotheses, truth, skeleton_for("h36m"))


def metrics(device: torch.device) -> Callable[[], object]:
    """All metrics of 64 frames x 200 hypotheses."""
    hypotheses, truth = poses_and_truth(BATCH, device)
    return lambda: score_frames(hypotheses, None, truth, skeleton_for("h36m"))


def plain_evaluation(device: torch.device, *, frames: int) -> Callable[[], object]:
    maps, _ = heatmaps_and_targets(frames, device)
    _, truth = poses_and_truth(frames, device)
    model = DiffPose().to(device).eval()
    return lambda: all_metrics(model.sample(maps, HYPOTHESES), truth, skeleton_for("h36m"))


def evaluation(
    device: torch.device, precision: str, *, frames: int, overrides: Sequence[str] = ()
) -> Callable[[], object]:
    """Sampling and scoring of a batch."""
    maps, _ = heatmaps_and_targets(frames, device)
    _, truth = poses_and_truth(frames, device)
    sampler = our_sampler(device, precision, *overrides)

    def run() -> None:
        samples = sampler(maps, FrameDraws(0, range(frames), device=device))
        score_frames(samples.hypotheses_mm, samples.zero_noise_mm, truth, sampler.model.skeleton)

    return run


@dataclass(frozen=True)
class Timed:
    """A case whose variants are prepared and timed in a process each.

    ``cuda``: further variants, where there is a GPU. ``per``: what the seconds are divided by. ``once``: variants that
    run a single time on a CPU.
    """

    variants: dict[str, Callable[[torch.device], Callable[[], object]]]
    facts: dict = field(default_factory=dict)
    cuda: dict[str, Callable[[torch.device], Callable[[], object]]] = field(default_factory=dict)
    per: int = 1
    once: tuple[str, ...] = ()

    def on(self, device: torch.device) -> dict[str, Callable[[torch.device], Callable[[], object]]]:
        """The variants that a device runs."""
        return self.variants | (self.cuda if device.type == "cuda" else {})

    def measure(self, case: str, device: str, repeats: int) -> dict:
        names = self.on(choose_device(device))
        commands = {name: own_command(case, device, repeats, "--variant", name) for name in names}
        once = self.once if choose_device(device).type == "cpu" else ()
        seconds, peaks = medians_apart(commands, repeats=repeats, once=once, cwd=ROOT)
        ours = max(peak for name, peak in peaks.items() if name != "plain")
        return {"seconds": {name: value / self.per for name, value in seconds.items()}, **self.facts, "peak_mb": ours}


def _sampling_case(images: int) -> Timed:
    variants = {"plain": partial(plain_sampling, images=images)}
    variants |= {name: partial(sampling, precision=name, images=images) for name in ("float32", "bfloat16")}
    cuda = {"tf32": partial(sampling, precision="tf32", images=images)}
    return Timed(variants, {"hypotheses": images * HYPOTHESES}, cuda=cuda)


def _evaluation_case(frames: int, once: tuple[str, ...] = ()) -> Timed:
    variants = {"plain": partial(plain_evaluation, frames=frames)}
    variants |= {name: partial(evaluation, precision=name, frames=frames) for name in ("float32", "bfloat16")}
    return Timed(variants, per=frames, once=once)


# Few steps against the published chain, in the fastest arithmetic that the processor has.
FEW_STEPS: dict[str, tuple[str, ...]] = {
    "chain": (),
    "ddim_10": ("TEST.SAMPLER=ddim", "TEST.STEPS=10"),
    "ddim_5": ("TEST.SAMPLER=ddim", "TEST.STEPS=5"),
    "ddim_5_sets": ("TEST.SAMPLER=ddim", "TEST.STEPS=5", "TEST.CONDITION_SETS=50"),
}


def _few_steps(run: Callable[..., Callable[[], object]], **size: int) -> dict[str, Callable]:
    return {name: partial(run, precision="bfloat16", overrides=keys, **size) for name, keys in FEW_STEPS.items()}


def _exported() -> dict[str, Callable]:
    """The exported graphs in onnxruntime beside our own networks, by the published chain and by five steps."""
    variants: dict[str, Callable] = {}
    for name in ("chain", "ddim_5"):
        variants[name] = partial(sampling, precision="float32", overrides=FEW_STEPS[name], images=8)
        variants[f"{name}_onnx"] = lambda device, keys=FEW_STEPS[name]: exported_chain(
            main_config(*keys), heatmaps_and_targets(8, device)[0].float().cpu().numpy()
        )
    return variants


CASES: dict[str, Timed | Callable[[torch.device, int], dict]] = {
    "ceilings": ceilings,
    "training": Timed(
        {
            "plain": plain_training,
            "float32": lambda device: training(device, "TRAIN.AMP=false"),
            "bfloat16": lambda device: training(device, "TRAIN.AMP_DTYPE=bfloat16"),
        },
        {"batch": BATCH},
        cuda={
            "graph": lambda device: training(device, "TRAIN.AMP_DTYPE=bfloat16", "TRAIN.CUDA_GRAPH=true", as_lists=True)
        },
    ),
    "sampling": _sampling_case(8),
    "sampling_memory": sampling_memory,
    "metrics": Timed({"plain": plain_metrics, "float32": metrics}, {"poses": BATCH * HYPOTHESES}),
    "evaluation_batch_8": _evaluation_case(8),
    # The plain way takes more than a minute and many GB.
    "evaluation_batch_64": _evaluation_case(64, once=("plain",)),
    "few_steps": Timed(_few_steps(sampling, images=8), {"hypotheses": 8 * HYPOTHESES}),
    "few_steps_evaluation": Timed(_few_steps(evaluation, frames=BATCH), per=BATCH),
    "dataset": dataset,
    "hrnet": hrnet,
    "demo": demo,
}
if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnxscript"):  # pip install 'diffpose[onnx]'
    CASES["exported"] = Timed(_exported(), {"hypotheses": 8 * HYPOTHESES})
# As many frames as fill a GPU, without the plain way, whose memory they would not fit.
LARGE = 320
CUDA_CASES: dict[str, Timed] = {
    "sampling_large": Timed(
        {name: partial(sampling, precision=name, images=LARGE) for name in ("float32", "tf32", "bfloat16")},
        {"hypotheses": LARGE * HYPOTHESES},
    ),
    "evaluation_large": Timed(
        {name: partial(evaluation, precision=name, frames=LARGE) for name in ("float32", "tf32", "bfloat16")},
        per=LARGE,
    ),
}


def cases_on(device: torch.device) -> dict[str, Timed | Callable[[torch.device, int], dict]]:
    return CASES | (CUDA_CASES if device.type == "cuda" else {})


def own_command(case: str, device: str, repeats: int, *more: str) -> list[str]:
    """What measures a case, or a variant of it, in a process of its own; started in the folder of the project."""
    program = [sys.executable, "-m", "experiments.bench.bench"]
    return [*program, "--case", case, "--device", device, "--repeats", str(repeats), *more]


def measure(case: str, device: str, repeats: int) -> dict:
    """A case's figures, from processes of its own. Raises DiffPoseError when one fails."""
    timed = cases_on(choose_device(device))[case]
    try:
        if isinstance(timed, Timed):
            return timed.measure(case, device, repeats)
        result = subprocess.run(
            own_command(case, device, repeats), cwd=ROOT, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise DiffPoseError((result.stderr.strip().splitlines() or ["no message"])[-1])
    except DiffPoseError as error:
        raise DiffPoseError(f"case {case} failed: {error}") from None
    return json.loads(result.stdout.splitlines()[-1])


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
        "cpu": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python", "experiments/bench/bench.py", *sys.argv[1:]]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--only", nargs="+", choices=[*CASES, *CUDA_CASES], help="only these cases")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds of the longer cases")
    parser.add_argument("--output", default=str(ROOT / "output" / "bench.json"), help="the JSON file to write")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = choose_device(args.device)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    if args.variant:
        if args.variant != "plain":
            keep_freed_memory()  # as train.py and eval.py do
        serve(cases_on(device)[args.case].on(device)[args.variant](device), device)
        return 0
    if args.case:
        print(json.dumps(cases_on(device)[args.case](device, args.repeats)))
        return 0
    for case in args.only or ():
        if case not in cases_on(device):
            raise DiffPoseError(f"--only {case}: this case needs --device cuda")
    found = {"machine": machine(device), "cases": {}}
    for case in args.only or cases_on(device):
        found["cases"][case] = measure(case, args.device, args.repeats)
        print(f"{case}: {json.dumps(found['cases'][case])}", flush=True)
    write_text(Path(args.output), json.dumps(found, indent=1) + "\n")
    print(f"written to {args.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
