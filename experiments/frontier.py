"""Samplers, steps and shared conditions side by side: ``python experiments/frontier.py --config <run>/config.yaml``.

Evaluates a run on validation rows with every sampler, number of steps, number of condition sets and NOISE_SCALE asked
for, and writes frontier.json, frontier.md and frontier.png into the run folder: best of N, mean, calibration error,
covered shares, energy score and hypotheses a second, each beside its paired difference from the run's published chain
with a 95 % bootstrap interval over frames. The draws are those of the frames, equal for all.
"""

import argparse
import itertools
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from data.loader import make_loader
from data.splits import validation_set
from experiments.frontier_output import plot_frontier, table
from models import build_sampler
from models.diffusion import GaussianDiffusion
from models.run import load_run
from models.samplers import PoseSampler
from models.start_variance import measure_start_variance
from utils.batch import model_input
from utils.config import Config, change_config
from utils.config.sampling import PUBLISHED_CHAIN, SAMPLERS, sampler_name
from utils.devices import choose_device
from utils.errors import DiffPoseError, finite, run_script, seed_number
from utils.evaluation.calibration import LEVELS, observed_shares
from utils.evaluation.frame_scores import FrameScores, score_frames
from utils.evaluation.metrics import METRICS
from utils.evaluation.report import write_text
from utils.memory import keep_freed_memory
from utils.randomness import FrameDraws, generator

RESAMPLES = 2000
COLUMN = {metric.key: place for place, metric in enumerate(METRICS)}
# Sampler -> the settings that make it what it is.
VARIANTS = {
    "ancestral": (),
    "upper": ("TEST.SAMPLER=ancestral", "TEST.VARIANCE=upper"),
    "optimal": ("TEST.SAMPLER=ancestral", "TEST.VARIANCE=optimal"),
    **{f"ddim:{eta:g}": ("TEST.SAMPLER=ddim", f"TEST.ETA={eta:g}") for eta in (0.25, 0.5, 0.75, 1)},
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*SAMPLERS[1:], *(name for name in VARIANTS if name != "ancestral")]
    parser.add_argument("--config", required=True, help="config.yaml of a run folder")
    parser.add_argument("--checkpoint", help="another model-*.pt than the one beside the configuration")
    parser.add_argument(
        "--samplers", nargs="+", choices=names, help="ddim:0.5 is DDIM with eta 0.5 (default: the main)"
    )
    parser.add_argument("--steps", nargs="+", type=int, default=[3, 5, 10, 25], help="network calls")
    parser.add_argument("--sets", nargs="+", type=int, default=[0], help="condition sets; 0: one for each hypothesis")
    parser.add_argument(
        "--noise_scales", nargs="+", type=finite, help="values of MODEL.NOISE_SCALE (default: the run's)"
    )
    parser.add_argument("--flip", action="store_true", help="each setting also with TEST.FLIP")
    parser.add_argument("--frames", type=int, help="validation rows (default: TRAIN.VALIDATE_FRAMES)")
    parser.add_argument("--num_hypotheses", type=int, help="hypotheses a frame (default: TEST.NUM_HYPO)")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override keys")
    parser.add_argument("--seed", type=seed_number, default=0, help="decides every draw")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--output", help="folder of the results (default: the run folder)")
    return parser.parse_args()


@dataclass(frozen=True)
class Setting:
    """One way to sample: its name in the table, and the configuration that it stands for."""

    name: str
    config: Config

    @property
    def key(self) -> dict[str, object]:
        """What tells it from the others."""
        test = self.config.test
        return {
            "sampler": sampler_name(self.config.model, test),
            "variance": test.variance,
            "eta": test.eta,
            "steps": test.steps or self.config.model.timesteps,
            "condition_sets": test.condition_sets or test.num_hypo,
            "noise_scale": self.config.model.noise_scale,
            "flip": test.flip,
        }


def settings_of(config: Config, args: argparse.Namespace) -> list[Setting]:
    """The published chain, and after it what the command line asks for. Raises DiffPoseError for what can't be."""
    published = Setting("published chain", change_config(config, PUBLISHED_CHAIN))
    flow = config.model.diffusion_objective == "velocity"
    samplers = args.samplers or (("euler", "heun") if flow else ("ancestral", "ddim", "dpm_solver"))
    scales = args.noise_scales or [config.model.noise_scale]
    found = [published]
    flips = ("false", "true") if args.flip else ("false",)
    for name, steps, sets, scale, flip in itertools.product(samplers, args.steps, args.sets, scales, flips):
        chosen = VARIANTS.get(name) or (f"TEST.SAMPLER={name}",)
        overrides = [
            *PUBLISHED_CHAIN,
            *chosen,
            f"TEST.STEPS={steps}",
            f"TEST.CONDITION_SETS={sets}",
            f"TEST.FLIP={flip}",
        ]
        setting = Setting(
            f"{name}, flip" if flip == "true" else name,
            change_config(config, [*overrides, f"MODEL.NOISE_SCALE={scale}"]),
        )
        if setting.key not in [other.key for other in found]:
            found.append(setting)
    return found


@dataclass(frozen=True)
class Frames:
    """What one setting gave: numbers of each of F frames, and how long sampling them took.

    ``scores``: name -> (F,) mm. ``within``: (F, J, L), 1 where a level's ball holds the truth.
    """

    scores: dict[str, np.ndarray]
    within: np.ndarray
    hypotheses_per_s: float


def frames_of(parts: list[FrameScores], hypotheses: int, seconds: list[float]) -> Frames:
    """Collect batches. The first of them warms the caches up, and its time does not count if there are others."""
    scores = {
        f"{row}_{key}": np.concatenate([part.scores[row][:, COLUMN[key]] for part in parts]).astype(np.float64)
        for row in ("best", "mean", "mean_pose")
        for key in ("mpjpe", "pa_mpjpe")
    }
    scores["energy_score"] = np.concatenate([part.energy for part in parts]).astype(np.float64)
    closer = np.concatenate([part.closer for part in parts])[:, 1:]  # (F, J) without the root
    counts = np.eye(hypotheses + 1)[closer]
    within = np.stack([observed_shares(frame) for frame in counts])
    sizes = [len(part.energy) for part in parts]
    timed = slice(1, None) if len(parts) > 1 else slice(None)
    return Frames(scores, within, hypotheses * sum(sizes[timed]) / sum(seconds[timed]))


def sample_and_score(sampler: PoseSampler, batches: list[dict], seed: int) -> Frames:
    """All frames of the batches, sampled and scored."""
    parts, seconds = [], []
    device, skeleton = sampler.model.betas.device, sampler.model.skeleton
    for batch in batches:
        inputs = model_input(batch).to(device)
        draws = FrameDraws(seed, batch["row"].tolist(), device=device)
        start = time.perf_counter()
        hypotheses = sampler(inputs, draws).hypotheses_mm
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        parts.append(score_frames(hypotheses, None, batch["gt_mm"].to(device), skeleton))
    return frames_of(parts, sampler.num_hypotheses, seconds)


def averages(frames: Frames, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every number of the table for R weightings of the frames, (R, F) whose rows sum to 1: name -> (R,)."""
    found = {name: weights @ values for name, values in frames.scores.items()}
    observed = np.tensordot(weights, frames.within, axes=1)  # (R, J, L)
    found["calibration_error"] = np.abs(observed - np.asarray(LEVELS)).mean((1, 2))
    for level in (0.5, 0.8, 0.95):
        found[f"covered_{100 * level:.0f}"] = observed.mean(1)[:, LEVELS.index(level)]
    return found


def compare(frames: Frames, reference: Frames, *, seed: int = 0) -> dict[str, dict]:
    """Name -> value, paired difference from the reference's, and its 95 % interval by resampling frames."""
    count = len(frames.within)
    source = np.random.default_rng(generator(seed, "bootstrap").initial_seed())
    weights = np.concatenate(
        [np.full((1, count), 1 / count), source.multinomial(count, [1 / count] * count, RESAMPLES) / count]
    )
    ours, theirs = averages(frames, weights), averages(reference, weights)
    result = {}
    for name, values in ours.items():
        differences = values - theirs[name]
        low, high = np.percentile(differences[1:], (2.5, 97.5))
        result[name] = {
            "value": float(values[0]),
            "difference": float(differences[0]),
            "interval": [float(low), float(high)],
            "reference": float(theirs[name][0]),
        }
    return result


def run_frontier(model: GaussianDiffusion, settings: list[Setting], batches: list[dict], seed: int) -> list[dict]:
    """A result for each setting, in order; the first one is what the others are compared with."""
    results, reference = [], None
    for setting in tqdm(settings, unit="setting"):
        model.noise_scale = setting.config.model.noise_scale
        frames = sample_and_score(build_sampler(model, setting.config, zero_noise=False), batches, seed)
        reference = reference or frames
        numbers = compare(frames, reference)
        speed = frames.hypotheses_per_s
        entry = {"name": setting.name, **setting.key, "numbers": numbers, "hypotheses_per_s": speed}
        results.append(entry | {"speed_ratio": speed / reference.hypotheses_per_s})
    return results


def main() -> int:
    args = parse_arguments()
    keep_freed_memory()
    overrides = list(args.set)
    overrides += [f"TRAIN.VALIDATE_FRAMES={args.frames}"] if args.frames is not None else []
    overrides += [f"TEST.NUM_HYPO={args.num_hypotheses}"] if args.num_hypotheses is not None else []
    device = choose_device(args.device)
    config, model, checkpoint = load_run(args.config, overrides=overrides, checkpoint=args.checkpoint, device=device)
    if config.test.num_hypo < 2:
        raise DiffPoseError("--num_hypotheses: calibration needs at least 2")
    settings = settings_of(config, args)
    rows = validation_set(config)
    batches = list(make_loader(rows, batch_size=min(config.test.batch_size_per_gpu, 32), workers=0))
    if any(setting.config.test.variance == "optimal" for setting in settings):
        model.start_variance = measure_start_variance(model, batches).to(device)
    results = run_frontier(model, settings, batches, args.seed)
    about = {
        "checkpoint": str(checkpoint),
        "weights": config.test.weights,
        "rows": f"{len(rows)} validation rows of {config.dataset.valfile or config.dataset.trainfile}",
        "hypotheses": config.test.num_hypo,
        "precision": config.test.precision,
        "seed": args.seed,
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    folder = Path(args.output) if args.output else Path(args.config).parent
    write_text(folder / "frontier.json", json.dumps({"about": about, "results": results}, indent=1) + "\n")
    text = table(about, results)
    write_text(folder / "frontier.md", text)
    plot_frontier(folder / "frontier.png", results)
    print(text)
    print(f"written to {folder}: frontier.json, frontier.md, frontier.png")
    return 0


if __name__ == "__main__":
    run_script(main)
