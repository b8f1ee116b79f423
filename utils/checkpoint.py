"""Weights and training states on disk: whole or absent, never half written, and loaded without running code.

``model-<milestone>.pt`` has the published form {step, model, ema, scaler}. ``state-<step>.pt`` holds what an exact
resume needs beyond it.
"""

import contextlib
import os
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.ema import averaged_weights
from utils.environment import environment_trouble
from utils.errors import DiffPoseError
from utils.files import PARTIAL, renamed_when_whole
from utils.weight_files import first_line, read_weight_file, without_wrappers

# Present in some published state dicts and used by no configuration that lacks them here.
UNUSED_PREFIXES = ("condition_emb.pos_proj.", "condition_emb.transformer.", "condition_emb.conf_out.")
_STATE_NAME = re.compile(r"state-(\d+)\.pt")


def save_atomic(content: object, path: str | os.PathLike[str]) -> None:
    """torch.save under another name, then rename: whatever happens, the file is the old one or the new one.

    Raises DiffPoseError when the disk is full or not writable.
    """
    try:
        with renamed_when_whole(path, durable=True, make_folder=False) as partial, open(partial, "wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        if "DataLoader worker" in str(error):  # raised by a signal handler, wherever the program happens to be
            raise
        raise DiffPoseError(
            f"{path}: cannot be written ({_why(error)}): free some space or choose another folder"
        ) from None


def _why(error: BaseException) -> str:
    """The reason for a failed save: torch.save covers the system's own error with one about its archive."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__context__
    return first_line(error)


def load_file(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> dict:
    """A checkpoint's dict, loaded with ``weights_only`` onto a device: no code in it is run.

    Raises DiffPoseError for a missing, truncated or foreign file, and for one that would unpack to far more than its
    own size.
    """
    path = Path(path)
    try:
        _check_archive(path)
        content = read_weight_file(path, device=device)
    except FileNotFoundError:
        raise DiffPoseError(f"{path}: no such checkpoint") from None
    except DiffPoseError:
        raise
    except Exception as error:  # a damaged file makes the unpickler fail in every way there is
        trouble = environment_trouble(error)
        if trouble:
            raise DiffPoseError(f"{path}: cannot be read ({trouble})") from None
        raise DiffPoseError(f"{path}: not a readable checkpoint, or a truncated one ({_why(error)})") from None
    if not isinstance(content, dict):
        raise DiffPoseError(f"{path}: holds a {type(content).__name__}, not the dict of a checkpoint")
    return content


def _check_archive(path: Path) -> None:
    """Refuse compressed archives: torch.save makes none, and few bytes could fill the memory."""
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            return
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > os.fstat(file.fileno()).st_size:
            raise DiffPoseError(f"{path}: not a checkpoint as torch.save writes it: it is compressed or damaged")


def load_weights(
    model: nn.Module, path: str | os.PathLike[str], *, weights: str = "raw", device: torch.device | str = "cpu"
) -> int:
    """Load ``raw`` or ``ema`` weights of a published or own model-*.pt into a model; returns its step.

    A file of nothing but weights (a plain state dict, or one under ``state_dict``, or safetensors) is taken for
    whichever was asked, and says so.
    Raises DiffPoseError when the file has no such weights, or weights of another configuration.
    """
    content = load_file(path, device=device)
    part = "ema" if weights == "ema" else "model"
    state = content.get(part)
    alone = content.get("state_dict", content) if part not in content else content
    if isinstance(alone, Mapping) and alone and all(isinstance(value, Tensor) for value in alone.values()):
        state = alone
        print(f"note: {path}: holds one set of weights, taken for the {weights} ones", file=sys.stderr)
    elif isinstance(state, Mapping) and weights == "ema":
        state = averaged_weights(dict(state))
    if not isinstance(state, Mapping) or not state:
        raise DiffPoseError(f"{path}: has no {weights} weights (entry '{part}'): it is no model-*.pt of a training run")
    load_state(model, state, path)
    step = content.get("step", 0)
    with contextlib.suppress(TypeError, ValueError, OverflowError, RuntimeError):
        return int(step)
    return 0


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Copy a state dict into a model. Raises DiffPoseError that names the entries that don't fit."""
    wanted = model.state_dict()
    state = without_wrappers(state, path)
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
    """The state-<step>.pt files of a run folder, newest first; none when there is no such folder."""
    paths = Path(folder).iterdir() if Path(folder).is_dir() else ()
    found = [(int(match[1]), path) for path in paths if (match := _STATE_NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def save_training_state(content: dict, folder: str | os.PathLike[str], *, step: int, keep: int) -> None:
    """Write state-<step>.pt and drop all but the newest ``keep``."""
    folder = Path(folder)
    save_atomic(content, folder / f"state-{step}.pt")
    for old in training_states(folder)[keep:]:
        old.unlink(missing_ok=True)


def load_training_state(path: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> tuple[dict, Path]:
    """A training state from a file, or the newest whole one of a run folder; and the file it came from.

    A damaged newest state is named on stderr and passed over for the one before. Raises DiffPoseError when none is
    whole.
    """
    path = Path(path)
    if not path.is_dir():
        return _whole_state(path, device), path
    problem = None
    for candidate in training_states(path):
        try:
            return _whole_state(candidate, device), candidate
        except DiffPoseError as error:
            print(f"warning: passed over: {error}", file=sys.stderr)
            problem = problem or error
    raise problem or DiffPoseError(f"{path}: holds no training state (state-<step>.pt) to resume from")


def _whole_state(path: Path, device: torch.device | str) -> dict:
    """A training state whose every byte is as it was written, by its archive's checksums."""
    content = load_file(path, device=device)
    missing = [name for name in ("step", "model", "optimizer", "ema", "scaler", "seed") if name not in content]
    if missing:
        raise DiffPoseError(
            f"{path}: not a training state, it lacks {', '.join(missing)}: resume needs a state-<step>.pt"
        )
    damaged: str | None = "damaged"
    with contextlib.suppress(OSError, zipfile.BadZipFile, NotImplementedError), zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise DiffPoseError(f"{path}: damaged after it was written (checksum of {damaged.rpartition('/')[2]})")
    parts = [content[name] for name in ("model", "optimizer", "ema", "scaler")]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(content["step"], int):
        raise DiffPoseError(f"{path}: not a training state of this program")
    return content


def clean_up(folder: str | os.PathLike[str], *, step: int) -> None:
    """Ready a run folder to go on from ``step``: what a killed process left half written goes, and damaged states after
    that step are set aside as ``*.damaged``, lest they count among the newest.
    """
    folder = Path(folder)
    with contextlib.suppress(OSError):
        for partial in folder.glob(f"*{PARTIAL}"):
            partial.unlink(missing_ok=True)
        for state in training_states(folder):
            name = _STATE_NAME.fullmatch(state.name)
            if name and int(name[1]) > step:
                state.replace(state.with_name(f"{state.name}.damaged"))
