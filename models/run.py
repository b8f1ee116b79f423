"""A trained run from its folder: configuration and model, ready to sample."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from models import build_model
from models.diffusion import GaussianDiffusion
from models.start_variance import FILE as START_VARIANCE
from models.start_variance import read_start_variance
from utils.checkpoint import load_weights
from utils.config import Config, load_config
from utils.config.sampling import SAMPLERS, VARIANCES
from utils.errors import DiffPoseError, finite


def find_checkpoint(config_path: Path, config: Config) -> Path:
    """The checkpoint beside a config.yaml: model-final.pt, else the latest model-<k>.pt, else TRAIN.CHECKPOINT.

    Raises DiffPoseError when there is none.
    """
    folder = config_path.parent
    final = folder / "model-final.pt"
    if final.is_file():
        return final
    milestones = [path for path in folder.glob("model-*.pt") if path.stem.rpartition("-")[2].isdigit()]
    if milestones:
        return max(milestones, key=lambda path: int(path.stem.rpartition("-")[2]))
    if config.train.checkpoint:
        path = Path(config.train.checkpoint)
        if not path.is_file():
            raise DiffPoseError(f"{path}: no such checkpoint (TRAIN.CHECKPOINT)")
        return path
    raise DiffPoseError(
        f"{final}: no such checkpoint: give the config.yaml of a run folder (or, where a script takes it, --checkpoint "
        "FILE), or train first (make quickstart trains a small model)"
    )


def load_run(
    config_path: str | Path,
    *,
    overrides: Sequence[str] = (),
    checkpoint: str | Path | None = None,
    weights: str | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Config, GaussianDiffusion, Path]:
    """Configuration, model in evaluation mode with its weights on ``device``, and the checkpoint's path.

    ``weights``: raw or ema; None takes TEST.WEIGHTS. With TEST.VARIANCE optimal the model gets the ``start_variance``
    that is kept beside the checkpoint, if there is one for these weights.
    Raises DiffPoseError for a missing, damaged or foreign checkpoint.
    """
    config_path = Path(config_path)
    config = load_config(config_path, overrides)
    path = Path(checkpoint) if checkpoint else find_checkpoint(config_path, config)
    model = build_model(config)
    load_weights(model, path, weights=weights or config.test.weights)
    if config.test.variance == "optimal":
        read_start_variance(model, path.with_name(START_VARIANCE))
    return config, model.to(device).eval(), path


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say how a run is sampled, and ``--set`` for any other key."""
    group = parser.add_argument_group("sampling (docs/samplers.md)")
    group.add_argument("--sampler", choices=SAMPLERS, help="(TEST.SAMPLER)")
    group.add_argument("--steps", type=int, help="network calls for each hypothesis, 0 for all (TEST.STEPS)")
    group.add_argument("--eta", type=finite, help="share of noise that ddim adds, 0 to 1 (TEST.ETA)")
    group.add_argument("--variance", choices=VARIANCES, help="of the ancestral sampler (TEST.VARIANCE)")
    group.add_argument(
        "--condition_sets", type=int, help="shared candidate sets, 0 for no sharing (TEST.CONDITION_SETS)"
    )
    group.add_argument(
        "--flip", action="store_const", const="true", help="half of the hypotheses from the mirrored image (TEST.FLIP)"
    )
    group.add_argument("--noise_scale", type=finite, help="factor on all noise of sampling (MODEL.NOISE_SCALE)")
    group.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override keys")


def sampling_overrides(args: argparse.Namespace) -> list[str]:
    """What :func:`add_sampling_flags` read, as overrides of the configuration."""
    flags = {
        "TEST.SAMPLER": args.sampler,
        "TEST.STEPS": args.steps,
        "TEST.ETA": args.eta,
        "TEST.VARIANCE": args.variance,
        "TEST.CONDITION_SETS": args.condition_sets,
        "TEST.FLIP": args.flip,
        "MODEL.NOISE_SCALE": args.noise_scale,
    }
    return args.set + [f"{key}={value}" for key, value in flags.items() if value is not None]
