"""Logging of a run: always to a local JSONL file, and to Weights & Biases if asked. Only this module uses wandb."""

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from utils.errors import DiffPoseError
from utils.files import renamed_when_whole


class Tracker:
    """Writes numbers to ``<folder>/log.jsonl`` and, with ``use_wandb``, to Weights & Biases.

    If W&B is missing, fails or has no account, one line says so and the run continues without it.
    """

    def __init__(
        self,
        *,
        use_wandb: bool,
        config: dict,
        project: str | None = None,
        entity: str | None = None,
        mode: str | None = None,
        run_name: str | None = None,
    ):
        self._run: Any = None
        self._file: TextIO | None = None
        if use_wandb:
            self._start_wandb(config=config, project=project, entity=entity, mode=mode, name=run_name)

    def _start_wandb(self, *, config: dict, project, entity, mode, name) -> None:
        try:
            import wandb

            if mode is None and wandb.setup().settings.mode == "online" and not wandb.api.api_key:
                mode = "offline"
            self._run = wandb.init(project=project or "diffpose", entity=entity, mode=mode, name=name, config=config)
        except Exception as error:
            self._without_wandb(error)

    def _without_wandb(self, error: BaseException) -> None:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        print(f"warning: continuing without Weights & Biases ({reason[0]})", file=sys.stderr)
        self._run = None

    @property
    def run_id(self) -> str | None:
        """The W&B run's id, if there is a run."""
        return getattr(self._run, "id", None)

    def open_folder(self, folder: Path, *, step: int | None = None) -> None:
        """Start the local log in a run folder; a run resumed at ``step`` keeps the lines up to that step."""
        path = folder / "log.jsonl"
        try:
            kept = [line for line in _lines(path) if step is None or line["step"] <= step]
            with renamed_when_whole(path, make_folder=False) as partial:
                partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise DiffPoseError(f"{folder}: the log can't be written ({error.strerror})") from None

    def log(self, step: int, **numbers: float) -> None:
        """Log numbers of a step. If the disk is full or W&B fails, one line says so and the run continues."""
        if self._file:
            line = json.dumps({"step": step, "time": round(time.time(), 3), **numbers})
            try:
                self._file.write(line + "\n")
                self._file.flush()
            except OSError as error:
                print(f"warning: {self._file.name}: can't be written ({error.strerror}), continuing", file=sys.stderr)
                self._close_file()
        if self._run:
            try:
                self._run.log(numbers, step=step)
            except Exception as error:
                self._without_wandb(error)

    def _close_file(self) -> None:
        if self._file:
            with contextlib.suppress(OSError):  # the unwritten rest can't be written now either
                self._file.close()
            self._file = None

    def close(self) -> None:
        """Close the log and the W&B run."""
        self._close_file()
        if self._run:
            try:
                self._run.finish()
            except Exception as error:
                self._without_wandb(error)
            self._run = None


def _lines(path: Path) -> list[dict]:
    """The entries of a log, without the broken last line that a killed process may have left."""
    found = []
    if path.exists():
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(text)
                if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                    found.append(entry)
    return found
