"""Weights and training states on disk: whole or absent, never half written, and loaded without running code.

``model-<milestone>.pt`` has the published form {step, model, ema, scaler}. ``state-<step>.pt`` holds what an exact
resume needs beyond it.
"""

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.ema import averaged_weights
from utils.errors import DiffPoseError

# Present in some published state dicts and used by no configuration that lacks them here.
UNUSED_PREFIXES = ("condition_emb.pos_proj.", "condition_emb.transformer.", "condition_emb.conf_out.")
_STATE_NAME = re.compile(r"state-(\d+)\.pt")


def save_atomic(content: object, path: str | os.PathLike[str]) -> None:
    """torch.save under another name, then rename. Raises DiffPoseError when the disk is full or not writable."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DiffPoseError(f"{path}: cannot be written ({reason}): free some space or choose another folder") from None


def load_file(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> dict:
    """A checkpoint's dict, loaded with ``weights_only`` onto a device.

    Raises DiffPoseError for a missing, truncated or foreign file.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise DiffPoseError(f"{path}: no such checkpoint") from None
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        pickle.UnpicklingError,
    ) as error:
        reason = str(error).strip().splitlines()
        detail = reason[0][:160] if reason else type(error).__name__
        raise DiffPoseError(f"{path}: not a readable checkpoint, or a truncated one ({detail})") from None
    if not isinstance(content, dict):
        raise DiffPoseError(f"{path}: holds a {type(content).__name__}, not the dict of a checkpoint")
    return content


def load_weights(
    model: nn.Module, path: str | os.PathLike[str], *, weights: str = "raw", device: torch.device | str = "cpu"
) -> int:
    """Load ``raw`` or ``ema`` weights of a published or own model-*.pt into a model; returns its step.

    Raises DiffPoseError when the file has no such weights, or weights of another configuration.
    """
    content = load_file(path, device=device)
    part = "ema" if weights == "ema" else "model"
    state = content.get(part)
    if isinstance(state, Mapping) and weights == "ema":
        state = averaged_weights(state)
    if not isinstance(state, Mapping) or not state:
        raise DiffPoseError(f"{path}: has no {weights} weights (entry '{part}'): it is no model-*.pt of a training run")
    load_state(model, state, path)
    step = content.get("step", 0)
    return int(step) if isinstance(step, int | float | Tensor) else 0


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Copy a state dict into a model. Raises DiffPoseError that names the entries that don't fit."""
    wanted = model.state_dict()
    wrong = [
        f"{name} is {list(state[name].shape)}, not {list(value.shape)}"
        for name, value in wanted.items()
        if isinstance(state.get(name), Tensor) and state[name].shape != value.shape
    ]
    missing = [name for name in wanted if not isinstance(state.get(name), Tensor)]
    extra = [name for name in state if name not in wanted and not str(name).startswith(UNUSED_PREFIXES)]
    problems = wrong + [f"{name} is missing" for name in missing] + [f"{name} is unknown" for name in extra]
    if problems:
        more = f" and {len(problems) - 2} more" if len(problems) > 2 else ""
        raise DiffPoseError(
            f"{path}: checkpoint of another configuration ({'; '.join(problems[:2])}{more}): "
            "use the config.yaml that stands beside it"
        )
    if not all(bool(torch.isfinite(state[name]).all()) for name, value in wanted.items() if value.is_floating_point()):
        raise DiffPoseError(f"{path}: has weights that are not finite: the training had diverged, take an earlier one")
    model.load_state_dict({name: state[name] for name in wanted})


def training_states(folder: str | os.PathLike[str]) -> list[Path]:
    """The state-<step>.pt files of a run folder, newest first."""
    found = [(int(match[1]), path) for path in Path(folder).iterdir() if (match := _STATE_NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def save_training_state(content: dict, folder: str | os.PathLike[str], *, step: int, keep: int) -> None:
    """Write state-<step>.pt and drop all but the newest ``keep``."""
    folder = Path(folder)
    save_atomic(content, folder / f"state-{step}.pt")
    for old in training_states(folder)[keep:]:
        old.unlink(missing_ok=True)


def load_training_state(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> tuple[dict, Path]:
    """A training state from a file, or the newest readable one of a run folder; and the file it came from.

    A damaged newest state is passed over for the one before. Raises DiffPoseError when nothing can be read.
    """
    path = Path(path)
    if not path.is_dir():
        return _checked_state(load_file(path, device=device), path), path
    candidates = training_states(path)
    problem = None
    for candidate in candidates:
        try:
            return _checked_state(load_file(candidate, device=device), candidate), candidate
        except DiffPoseError as error:
            problem = problem or error
    raise problem or DiffPoseError(f"{path}: holds no training state (state-<step>.pt) to resume from")


def _checked_state(content: dict, path: Path) -> dict:
    missing = [name for name in ("step", "model", "optimizer", "ema", "scaler", "seed") if name not in content]
    if missing:
        raise DiffPoseError(
            f"{path}: not a training state, it lacks {', '.join(missing)}: resume needs a state-<step>.pt"
        )
    return content
