"""A run's errors frame by frame: ``python experiments/frame_errors.py --config <run>/config.yaml --output FILE``.

What experiments/claims_report.py compares runs by: the frames of the full split and all hard ones, each with the motion
that it shows, whether it is hard and how ambiguous; and, of every evaluation asked for, each frame's errors. An
evaluation that the file holds already is not repeated; one is ``raw`` or ``ema`` (whose weights), and after a slash
``published`` (the published chain) or a sampler and its network calls: ``ema/published``, ``raw/ddim:10``.
"""

import argparse
import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import ConcatDataset, DataLoader, Subset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from data.ambiguity import heatmap_spread
from data.loader import make_loader
from data.pose_dataset import PoseDataset
from data.recordings import motions_of
from data.splits import evaluation_set
from models import build_sampler
from models.diffusion import GaussianDiffusion
from models.run import find_checkpoint, load_run
from utils.config import Config, load_config
from utils.config.sampling import PUBLISHED_CHAIN, SAMPLERS, sampler_name
from utils.devices import choose_device
from utils.errors import DiffPoseError, run_script, seed_number
from utils.evaluation.frame_scores import FrameScores, score_frames
from utils.evaluation.inference import predict
from utils.evaluation.metrics import METRICS
from utils.evaluation.report import write_text
from utils.memory import keep_freed_memory

BEST_OF = (1, 10, 50, 200)
SHOWN_METRICS = ("mpjpe", "pa_mpjpe")
# What a file holds: name -> kind.
ABOUT = {"source": str, "stride": int, "seed": int, "weights": str}
FRAMES = dict.fromkeys(("row", "full", "hard", "motion", "ambiguity", "action"), list)
EVALUATED = {"weights": str, "sampler": str, "steps": int, "hypotheses": int, "errors": dict}
ERRORS = dict.fromkeys(
    (*(f"{row}_{metric}" for row in ("mean_pose", "zero_noise") for metric in SHOWN_METRICS), "energy", "closer"), list
)
EXPERIMENT: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "seed": int,
    "steps": int,
    "batch": int,
    "minutes": (int, float),
}


def overrides_of(evaluation: str) -> list[str]:
    """The configuration of an evaluation, as overrides of the run's. Raises DiffPoseError for an unknown one."""
    weights, _, way = evaluation.partition("/")
    name, _, calls = way.partition(":")
    known = way in ("", "published") or (name in SAMPLERS[1:] and calls.isdecimal() and int(calls) > 0)
    if weights not in ("raw", "ema") or not known:
        raise DiffPoseError(
            f"--evaluations {evaluation}: it is raw or ema, and after a slash published or SAMPLER:CALLS, as ema/ddim:5"
        )
    chosen = [f"TEST.WEIGHTS={weights}"]
    if way:
        chosen += PUBLISHED_CHAIN
    if calls:
        chosen += [f"TEST.SAMPLER={name}", f"TEST.STEPS={calls}"]
    return chosen


# --- the frames


class Frames:
    """The rows of the full split and the hard ones beside them, each once: F in all.

    ``about``: name -> a list of F: ``row`` (in the file's split), ``full``, ``hard`` (0 or 1), ``motion`` (which rows
    show the same motion), ``ambiguity`` (mean over joints of the standard deviation of the Gaussian fitted to the
    heatmap, cells) and ``action``.
    """

    def __init__(self, config: Config):
        if config.model.condition_key != "heatmaps":
            raise DiffPoseError("MODEL.CONDITION_KEY: how ambiguous a frame is, only its heatmaps tell")
        full = evaluation_set(config, "full")
        parts: list[tuple[PoseDataset, np.ndarray]] = [(full, np.arange(len(full)))]
        with contextlib.suppress(DiffPoseError):  # no row is hard
            hard = evaluation_set(config, "hard")
            parts.append((hard, np.flatnonzero(~np.isin(hard.rows, full.rows))))
        self.dataset: ConcatDataset = ConcatDataset([Subset(rows, chosen.tolist()) for rows, chosen in parts])
        self.source, self.stride = full.source, full.stride
        self.about = {
            "row": np.concatenate([rows.rows[chosen] for rows, chosen in parts]).tolist(),
            "full": [1] * len(full) + [0] * (len(self.dataset) - len(full)),
            "hard": [int(mark) for rows, chosen in parts for mark in np.asarray(rows.meta["hardsubset"])[chosen]],
            "motion": np.concatenate([motions_of(rows, "test")[chosen] for rows, chosen in parts]).tolist(),
            "action": [str(name) for rows, chosen in parts for name in rows.meta["action"][chosen]],
        }

    def loader(self, batch_size: int) -> DataLoader:
        """Batches of the frames in order."""
        return make_loader(self.dataset, batch_size=batch_size, workers=0)

    def measure_ambiguity(self) -> None:
        """Add ``ambiguity``; the heatmaps are read for it."""
        spreads = [heatmap_spread(batch["heatmap"].numpy()).mean(1) for batch in self.loader(64)]
        self.about["ambiguity"] = [round(float(value), 3) for value in np.concatenate(spreads)]


# --- the errors


def errors_of(parts: Sequence[FrameScores]) -> dict[str, list]:
    """Name -> F numbers, mm: ``best_<N>_<metric>``, ``mean_pose_<metric>``, ``zero_noise_<metric>``, ``energy``.

    ``closer``: F lists of J - 1 counts, of the hypotheses that lie closer to their median pose than the truth does.
    """
    columns = {metric.key: place for place, metric in enumerate(METRICS)}
    number = parts[0].best_of_n["mpjpe"].shape[1]
    found: dict[str, np.ndarray] = {}
    for metric in SHOWN_METRICS:
        curve = np.concatenate([part.best_of_n[metric] for part in parts])
        found |= {f"best_{n}_{metric}": curve[:, n - 1] for n in sorted({min(n, number) for n in BEST_OF})}
        for row in ("mean_pose", "zero_noise"):
            found[f"{row}_{metric}"] = np.concatenate([part.scores[row][:, columns[metric]] for part in parts])
    found["energy"] = np.concatenate([part.energy for part in parts])
    errors: dict[str, list] = {
        name: [float(f"{value:.5g}") for value in values.astype(np.float64)] for name, values in found.items()
    }
    errors["closer"] = np.concatenate([part.closer[:, 1:] for part in parts]).astype(int).tolist()
    return errors


def evaluate(model: GaussianDiffusion, config: Config, frames: Frames, *, seed: int, name: str) -> dict:
    """One evaluation: how it was sampled, how long it took, and the frames' errors."""
    sampler = build_sampler(model, config)
    device = model.betas.device
    loader = frames.loader(min(config.test.batch_size_per_gpu, 32))
    start = time.monotonic()
    parts = [
        score_frames(batch["hypotheses_mm"], batch["z0_mm"], batch["gt_mm"], model.skeleton)
        for batch in predict(loader, sampler, seed=seed, device=device, description=name)
    ]
    test = config.test
    return {
        "weights": test.weights,
        "sampler": sampler_name(config.model, test),
        "steps": test.steps or config.model.timesteps,
        "hypotheses": test.num_hypo,
        "seconds": round(time.monotonic() - start, 1),
        "errors": errors_of(parts),
    }


def read_errors(path: Path) -> dict:
    """A file of this script. Raises DiffPoseError when it is none, or lacks what this script writes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        fault = _fault_of(content)
    except OSError as error:
        raise DiffPoseError(f"{path}: can't be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault:
        raise DiffPoseError(f"{path}: not a whole file of experiments/frame_errors.py ({fault}): remove it")
    return content


def read_run(path: Path) -> dict:
    """The same with ``experiment``, which experiments/sweep.py adds. Raises DiffPoseError when it is not there."""
    content = read_errors(path)
    if fault := _lack(content, {"experiment": dict}) or _lack(content["experiment"], EXPERIMENT, "experiment"):
        raise DiffPoseError(f"{path}: not a file of experiments/sweep.py --frame_errors ({fault}): remove it")
    return content


def _fault_of(content: dict) -> str:
    """What a file lacks of what this script writes, or holds of another kind; empty if nothing."""
    parts = {"about": dict, "frames": dict, "evaluations": dict}
    fault = (
        _lack(content, parts) or _lack(content["about"], ABOUT, "about") or _lack(content["frames"], FRAMES, "frames")
    )
    if fault:
        return fault
    number = len(content["frames"]["row"])
    numbers = {f"frames: {name}": (content["frames"][name], 1) for name in FRAMES if name != "action"}
    for key, evaluation in content["evaluations"].items():
        fault = _lack({key: evaluation}, {key: dict}) or _lack(evaluation, EVALUATED, key)
        fault = fault or _lack(evaluation["errors"], ERRORS, f"{key}: errors")
        if fault:
            return fault
        numbers |= {f"{key}: {name}": (values, 1) for name, values in evaluation["errors"].items()}
        numbers[f"{key}: closer"] = (evaluation["errors"]["closer"], 2)
        if np.max(evaluation["errors"]["closer"], initial=0) > evaluation["hypotheses"]:
            return f"{key}: closer counts more hypotheses than there are"
    for name, (values, axes) in numbers.items():
        found = np.asarray(values)
        kinds = "i" if name.endswith("closer") else "if"
        if found.dtype.kind not in kinds or found.ndim != axes or not np.isfinite(found).all():
            return f"{name}: not a number for each of the frames"
        if len(found) != number:
            return f"{name} is not of {number} frames"
    return ""


def _lack(holder: dict, wanted: Mapping[str, type | tuple[type, ...]], what: str = "file") -> str:
    """The first name that a dict does not have, or has of another kind than wanted; empty if none."""
    if not isinstance(holder, dict):
        return f"{what} is no object"
    for name, kind in wanted.items():
        if name not in holder:
            return f"{what} has no {name}"
        if not isinstance(holder[name], kind) or isinstance(holder[name], bool):
            return f"{what}: {name} is of a wrong kind"
    return ""


def write_errors(path: Path, content: dict) -> None:
    """The file, on one line, whole or not at all."""
    write_text(path, json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="config.yaml of a run folder")
    parser.add_argument("--output", required=True, help="JSON file; what it holds already is kept")
    parser.add_argument("--evaluations", nargs="+", default=["ema", "raw"], help="as ema, raw/published, ema/ddim:10")
    parser.add_argument("--seed", type=seed_number, default=0, help="decides every draw")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    args = parser.parse_args()
    keep_freed_memory()
    output, device = Path(args.output), choose_device(args.device)
    chosen = {evaluation: overrides_of(evaluation) for evaluation in args.evaluations}
    content = read_errors(output) if output.is_file() else {}
    config = load_config(args.config)
    for overrides in chosen.values():
        load_config(args.config, overrides)  # what can't be done is said before anything is
    checkpoint = find_checkpoint(Path(args.config), config)
    about = {"seed": args.seed, "weights": hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:16]}
    if content and not about.items() <= content["about"].items():
        raise DiffPoseError(f"{output}: of other draws or weights: remove it or name another --output")
    if any(found["hypotheses"] != config.test.num_hypo for found in content.get("evaluations", {}).values()):
        raise DiffPoseError(f"{output}: not of {config.test.num_hypo} hypotheses: remove it or name another --output")
    if waiting := [evaluation for evaluation in chosen if evaluation not in content.get("evaluations", {})]:
        frames = Frames(config)
        frames.measure_ambiguity()
        about = {"source": frames.source, "stride": frames.stride, **about}
        if content and (content["frames"] != frames.about or content["about"] != about):
            raise DiffPoseError(f"{output}: of other frames: remove it or name another --output")
        content = {"about": about, "frames": frames.about, "evaluations": {}} | content
        for evaluation in waiting:
            config, model, _ = load_run(args.config, overrides=chosen[evaluation], device=device)
            write_errors(output, content)  # if that can't be done, it had better be known before the evaluation
            content["evaluations"][evaluation] = evaluate(model, config, frames, seed=args.seed, name=evaluation)
            write_errors(output, content)
    print(f"{output}: {', '.join(content['evaluations'])}")
    return 0


if __name__ == "__main__":
    run_script(main)
