"""Make the folder that ships out of a training run: ``python demo/export.py --config RUN/config.yaml``.

Writes config.yaml and model-final.pt with the evaluated weights alone, in float16, and the training set's mean pose.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from data.splits import training_set
from models.run import load_run
from utils.checkpoint import save_atomic
from utils.config import change_config, save_config
from utils.errors import run_script

POSES = 20_000


def upright_mean(poses_mm: np.ndarray) -> np.ndarray:
    """Mean (17, 3) of poses (N, 17, 3) that are first turned about the vertical axis until they face the camera."""
    across = (poses_mm[:, 4] - poses_mm[:, 1]) + (poses_mm[:, 11] - poses_mm[:, 14])
    angle = np.arctan2(across[:, 2], across[:, 0])
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y, z = np.moveaxis(poses_mm, -1, 0)
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=-1).mean(axis=0)


def half_precision(state: dict[str, torch.Tensor], kept: set[str]) -> dict[str, torch.Tensor]:
    """Trained weights in float16; the entries named in ``kept`` (schedules, tables) as they are."""
    return {
        name: value if name in kept or not value.is_floating_point() else value.half() for name, value in state.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="config.yaml of a finished run")
    parser.add_argument("--output", default="demo/weights", help="folder to write")
    args = parser.parse_args()
    config, model, source = load_run(args.config)
    poses = training_set(config).poses_mm(limit=POSES)
    content = {
        "step": config.train.num_steps,
        "model": half_precision(model.state_dict(), {name for name, _ in model.named_buffers()}),
        "mean_pose_mm": torch.from_numpy(upright_mean(poses.astype(np.float64)).astype(np.float32)),
    }
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    save_config(change_config(config, ["TEST.WEIGHTS=raw"]), folder / "config.yaml")
    path = folder / "model-final.pt"
    save_atomic(content, path)
    print(f"{source} ({config.test.weights} weights) -> {path}, {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    run_script(main)
