"""Logging of a run: a local JSONL file always, Weights & Biases where wanted. The only user of wandb."""

import json
import sys
import time
from pathlib import Path

from utils.errors import DiffPoseError


class Tracker:
    """Writes numbers to ``<folder>/log.jsonl`` and, with ``use_wandb``, to Weights & Biases.

    A missing, failing or account-less W&B is named in one line and left out; it never stops a run.
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
        self._run = None
        self._file = None
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
        print(f"warning: going on without Weights & Biases ({reason[0]})", file=sys.stderr)
        self._run = None

    @property
    def run_id(self) -> str | None:
        """The W&B run's id, if there is a run."""
        return getattr(self._run, "id", None)

    def open_folder(self, folder: Path) -> None:
        """Start the local log in a run folder; a resumed run goes on in the same file."""
        try:
            self._file = open(folder / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise DiffPoseError(f"{folder}: the log can't be written ({error.strerror})") from None

    def log(self, step: int, **numbers: float) -> None:
        """Log numbers of a step."""
        if self._file:
            line = json.dumps({"step": step, "time": round(time.time(), 3), **numbers})
            self._file.write(line + "\n")
            self._file.flush()
        if self._run:
            try:
                self._run.log(numbers, step=step)
            except Exception as error:
                self._without_wandb(error)

    def close(self) -> None:
        """Close the log and the W&B run."""
        if self._file:
            self._file.close()
            self._file = None
        if self._run:
            try:
                self._run.finish()
            except Exception as error:
                self._without_wandb(error)
            self._run = None
