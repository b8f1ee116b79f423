"""Train a model: ``python train.py --config diffpose.yaml --seed 42``.

Writes a run folder ``<OUTPUT_DIR>_<run name>`` with config.yaml, log.jsonl, model-*.pt and the training state, and ends
with an evaluation on the full and the hard split.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from data.loader import make_loader
from data.splits import evaluation_set, training_set, validation_set
from models import build_model
from models.sampling import PoseSampler
from models.trainer import StepResult, Trainer
from utils.checkpoint import load_training_state, save_atomic, save_training_state, training_states
from utils.config import Config, dump_config, flatten_config, load_config, save_config
from utils.devices import choose_device
from utils.errors import DiffPoseError, run_script
from utils.evaluation import SplitInfo, evaluate
from utils.inference import predict
from utils.randomness import seed_of
from utils.tracking import Tracker


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="experiment file, such as diffpose.yaml")
    parser.add_argument("--seed", type=int, default=42, help="decides weights, data order and every draw")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override keys: TRAIN.LR=3e-4"
    )
    parser.add_argument("--run_name", help="names the run folder; else the W&B id, or a timestamp and the seed")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--resume", action="store_true", help="go on with the run of --run_name, if it was begun")
    parser.add_argument("--no_eval", action="store_true", help="do not evaluate after training")
    parser.add_argument("--dry_run", action="store_true", help="print the resolved configuration and stop")
    parser.add_argument("--do_not_use_wandb", action="store_true", help="log to the run folder only")
    parser.add_argument("--wandb_project", help="W&B project (else diffpose)")
    parser.add_argument("--wandb_entity", help="W&B account (else its own setting)")
    parser.add_argument("--wandb_mode", choices=("online", "offline", "disabled"), help="else its own setting")
    return parser.parse_args()


def open_run_folder(config: Config, name: str, *, resume: bool) -> Path:
    """Make the run folder. Raises DiffPoseError when it can't be written, or holds another run."""
    folder = Path(f"{config.output_dir}_{name}")
    if not resume and folder.exists() and any(folder.glob("*.pt")):
        raise DiffPoseError(f"{folder}: holds a run already: choose another --run_name, or go on with it by --resume")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiffPoseError(f"{folder}: the run folder can't be made ({error.strerror}): change OUTPUT_DIR") from None
    save_config(config, folder / "config.yaml")
    return folder


class StopSignal:
    """SIGINT and SIGTERM ask for a stop after the current step; a second one stops at once."""

    def __init__(self):
        self.asked = False
        self._process = os.getpid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if os.getpid() != self._process:  # a loader worker that inherited the handler
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Validation:
    """Scores a few hypotheses on a few frames, with the raw weights."""

    def __init__(self, config: Config, model: torch.nn.Module, seed: int):
        self.config, self.model, self.seed = config, model, seed
        self.dataset = validation_set(config)

    def __call__(self) -> dict[str, float]:
        """MPJPE and PA-MPJPE in mm: of the best and the mean hypothesis, and of the zero-noise estimate."""
        test = self.config.test
        sampler = PoseSampler(
            self.model, num_hypotheses=self.config.train.validate_hypo, precision=test.precision, chunk=test.chunk
        )
        loader = make_loader(self.dataset, batch_size=test.batch_size_per_gpu)
        batches = predict(loader, sampler, seed=self.seed, device=self.model.betas.device)
        info = SplitInfo(split="validation", dataset=self.config.dataset.dataset, source="")
        rows = evaluate(batches, skeleton=self.model.skeleton, info=info).rows
        self.model.train()
        return {
            f"validation/{row}_{metric}": rows[row][metric]
            for row in ("best", "mean", "zero_noise")
            for metric in ("mpjpe", "pa_mpjpe")
        }


def save(trainer: Trainer, folder: Path, *, milestone: str) -> None:
    """Write model-<milestone>.pt and the full training state."""
    save_atomic(trainer.model_file(), folder / f"model-{milestone}.pt")
    save_training_state(trainer.state_dict(), folder, step=trainer.step, keep=trainer.config.train.keep)


def train(config: Config, trainer: Trainer, loader: DataLoader, folder: Path, tracker: Tracker) -> bool:
    """Run the loop with its progress bar, logs, validations and checkpoints; False if it was asked to stop early."""
    settings = config.train
    stop = StopSignal()
    validation = Validation(config, trainer.model, trainer.seed) if settings.validate_every else None
    bar = tqdm(total=settings.num_steps, initial=trainer.step, desc="train", unit="step", smoothing=0.05)
    losses: list[torch.Tensor] = []

    def after_step(result: StepResult) -> bool:
        bar.update()
        losses.append(result.loss)
        if result.step % settings.log_every == 0:
            loss = float(torch.stack(losses).mean())
            losses.clear()
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            tracker.log(result.step, loss=loss, learning_rate=result.learning_rate)
        if validation and result.step % settings.validate_every == 0:
            numbers = validation()
            tracker.log(result.step, **numbers)
            bar.write(f"step {result.step}: " + ", ".join(f"{name} {value:.1f}" for name, value in numbers.items()))
        if settings.save_every and result.step % settings.save_every == 0 and result.step < settings.num_steps:
            save(trainer, folder, milestone=str(result.step // settings.save_every))
        return stop.asked

    with bar:
        trainer.fit(iter(loader), after_step=after_step)
    return trainer.step >= settings.num_steps


def main() -> int:
    args = parse_arguments()
    config = load_config(args.config, args.set)
    print(dump_config(config), end="", flush=True)
    if args.dry_run:
        return 0
    device = choose_device(args.device)
    dataset = training_set(config)
    if not args.no_eval:
        evaluation_set(config, "full")  # better to hear of an unusable test file now than after the training

    tracker = Tracker(
        use_wandb=not args.do_not_use_wandb, config=flatten_config(config) | {"SEED": args.seed},
        project=args.wandb_project, entity=args.wandb_entity, mode=args.wandb_mode, run_name=args.run_name,
    )  # fmt: skip
    name = args.run_name or tracker.run_id or f"{time.strftime('%Y%m%d-%H%M%S')}_seed{args.seed}"
    folder = open_run_folder(config, name, resume=args.resume)
    tracker.open_folder(folder)
    torch.manual_seed(seed_of(args.seed, "weights"))
    trainer = Trainer(build_model(config).to(device), config, seed=args.seed)
    source = folder if args.resume and training_states(folder) else config.train.resume_from
    if source:
        state, path = load_training_state(source, device=device)
        trainer.load_state_dict(state, str(path))
        print(f"resumed {path} at step {trainer.step}")
    loader = make_loader(
        dataset, batch_size=config.train.batch_size_per_gpu, shuffle=config.train.shuffle, endless=True, seed=args.seed,
        start_step=trainer.step * config.train.gradient_accumulate_every, workers=config.workers,
        pin_memory=config.pin_memory and device.type == "cuda",
    )  # fmt: skip
    print(f"run folder {folder}, {len(dataset):,} training rows, device {device}", flush=True)
    finished = train(config, trainer, loader, folder, tracker)
    if not finished:
        save_training_state(trainer.state_dict(), folder, step=trainer.step, keep=config.train.keep)
        tracker.close()
        print(f"stopped at step {trainer.step}; go on with: --run_name {name} --resume", file=sys.stderr)
        return 130
    save(trainer, folder, milestone="final")
    tracker.close()
    print(f"saved {folder / 'model-final.pt'}", flush=True)
    if args.no_eval:
        return 0
    script = Path(__file__).resolve().with_name("eval.py")
    command = [
        sys.executable,
        script,
        "--config",
        folder / "config.yaml",
        "--device",
        args.device,
        "--do_not_use_wandb",
    ]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    run_script(main)
