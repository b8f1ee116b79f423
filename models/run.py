"""A trained run from its folder: configuration and model, ready to sample."""

from collections.abc import Sequence
from pathlib import Path

import torch

from models import build_model
from models.diffusion import GaussianDiffusion
from utils.checkpoint import load_weights
from utils.config import Config, load_config
from utils.errors import DiffPoseError


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
        return Path(config.train.checkpoint)
    raise DiffPoseError(
        f"{final}: no such checkpoint: give the config.yaml of a run folder, --checkpoint FILE, or train first "
        "(make quickstart trains a small model)"
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

    ``weights``: raw or ema; None takes TEST.WEIGHTS. Raises DiffPoseError for a missing, damaged or foreign checkpoint.
    """
    config_path = Path(config_path)
    config = load_config(config_path, overrides)
    path = Path(checkpoint) if checkpoint else find_checkpoint(config_path, config)
    model = build_model(config)
    load_weights(model, path, weights=weights or config.test.weights)
    return config, model.to(device).eval(), path
