"""Does a training state belong to this run, and will continuing from it give the same numbers to the last bit?"""

from collections.abc import Mapping
from typing import Any

import torch

from utils.config import Config, config_differences, dump_config, parse_config
from utils.config.yaml_file import parse_yaml
from utils.errors import DiffPoseError

# Keys and sections that may change in the middle of a run, because no weight depends on them (ON_DEVICE and
# CUDA_GRAPH change weights by no more than rounding, on a GPU). BATCH_SIZE_PER_GPU is checked together with the number
# of processes, and NUM_STEPS only if the learning rate depends on it.
FREE = (
    "OUTPUT_DIR",
    "WORKERS",
    "PIN_MEMORY",
    "TEST",
    "DATASET.ROOT",
    "DATASET.TESTFILE",
    "DATASET.VALFILE",
    "MODEL.NAME",
    "MODEL.NOISE_SCALE",
    "TRAIN.RESUME",
    "TRAIN.CHECKPOINT",
    "TRAIN.SAVE_EVERY",
    "TRAIN.KEEP",
    "TRAIN.VALIDATE_EVERY",
    "TRAIN.VALIDATE_FRAMES",
    "TRAIN.VALIDATE_HYPO",
    "TRAIN.VALIDATE_SUBJECTS",
    "TRAIN.LOG_EVERY",
    "TRAIN.BATCH_SIZE_PER_GPU",
    "TRAIN.NUM_STEPS",
    "TRAIN.ON_DEVICE",
    "TRAIN.CUDA_GRAPH",
)


def run_identity(config: Config, device: torch.device, world_size: int) -> dict[str, Any]:
    """What a training state records about its run."""
    return {
        "config": dump_config(config),
        "global_batch": config.train.batch_size_per_gpu * world_size,
        "processes": world_size,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


def check_same_run(identity: Any, config: Config, device: torch.device, world_size: int, *, path: str) -> list[str]:
    """One line per reason why the continued run will not be bit-equal to an uninterrupted one; usually none.

    ``identity`` is the state's :func:`run_identity`; None for a state without it.

    Raises:
        DiffPoseError: the state was made with another configuration; the message names the keys.
    """
    if identity is None:
        return []
    now = run_identity(config, device, world_size)
    fits = isinstance(identity, Mapping) and all(type(identity.get(name)) is type(value) for name, value in now.items())
    if not fits:
        raise DiffPoseError(f"{path}: not a training state of this program, its entry 'run' is incomplete")
    source = f"{path}: its configuration"
    before = parse_config(parse_yaml(identity["config"], source) or {}, source=source, report=lambda line: None)
    different = [
        f"{key} was {was}, is {value}" for key, was, value in config_differences(before, config) if not _is_free(key)
    ]
    if identity["global_batch"] != now["global_batch"]:
        different.append(
            f"TRAIN.BATCH_SIZE_PER_GPU x processes was {identity['global_batch']}, is {now['global_batch']}"
        )
    if before.train.num_steps != config.train.num_steps and config.train.use_step_lr:
        different.append(f"TRAIN.NUM_STEPS was {before.train.num_steps}, is {config.train.num_steps} with USE_STEP_LR")
    if different:
        raise DiffPoseError(
            f"{path}: the run began with another configuration ({'; '.join(different)}): continue with the values "
            "it began with (its config.yaml has them), or start a new run"
        )
    return [
        f"the run had {name} {identity[name]}, now {now[name]}: its weights will not equal those of an "
        "uninterrupted run to the last bit"
        for name in ("processes", "device", "threads", "torch")
        if identity[name] != now[name] and not (name == "threads" and device.type != "cpu")
    ]


def _is_free(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in FREE)
