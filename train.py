"""Train a model: ``python train.py --config diffpose.yaml --seed 42``.

Writes a run folder ``<OUTPUT_DIR>_<run name>`` with config.yaml, log.jsonl, model-*.pt and the training state, and ends
with an evaluation on the full and the hard split.
"""

import argparse
import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from data.augmentation import augmented
from data.loader import SeededBatchSampler, lost_workers_named, make_loader
from data.pose_dataset import PoseDataset
from data.resident_rows import ResidentRows
from data.splits import evaluation_set, training_set, validation_set
from models import build_model, build_sampler, build_trainer
from models.trainer import StepResult, Trainer, TrainingBatch
from utils.checkpoint import (
    clean_up,
    load_training_state,
    load_weights,
    save_atomic,
    save_training_state,
    training_states,
)
from utils.config import Config, dump_config, flatten_config, ignore_warning, load_config, print_warning, save_config
from utils.distributed import Processes
from utils.errors import DiffPoseError, run_script, seed_number
from utils.evaluation import SplitInfo, evaluate
from utils.evaluation.inference import predict
from utils.memory import keep_freed_memory
from utils.randomness import seed_of
from utils.stop_signal import StopSignal
from utils.tracking import Tracker


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="experiment file, such as diffpose.yaml")
    parser.add_argument("--seed", type=seed_number, default=42, help="decides weights, data order and every draw")
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


def resume(trainer: Trainer, folder: Path, *, wanted: bool) -> None:
    """Go on from the newest state of the run folder, if that is wanted and there is one, or from TRAIN.RESUME.

    Process 0 reads it for all. Raises DiffPoseError when the state is unreadable or of another run.
    """
    processes, found = trainer.processes, None
    if processes.is_main:
        begun = wanted and training_states(folder)
        state_file = folder if begun else trainer.config.train.resume_from
        found = load_training_state(state_file) if state_file else None
    found = processes.broadcast(found)
    if found is None:
        return
    state, path = found
    remarks = trainer.load_state_dict(state, str(path))
    if processes.is_main:
        for remark in remarks:
            print(f"warning: {path}: {remark}", file=sys.stderr)
        print(f"resumed {path} at step {trainer.step}")


class Validation:
    """Scores a few hypotheses on a few frames, with the raw weights; each process takes its part of the frames."""

    def __init__(self, config: Config, trainer: Trainer):
        # The optimal variance is measured on a finished model.
        self.config = dataclasses.replace(config, test=dataclasses.replace(config.test, variance="posterior"))
        self.model, self.seed, self.processes = trainer.model, trainer.seed, trainer.processes
        self.dataset = validation_set(config)

    def __call__(self) -> dict[str, float]:
        """MPJPE and PA-MPJPE in mm: of the best and the mean hypothesis, and of the zero-noise estimate.

        In process 0 only; empty in the others.
        """
        sampler = build_sampler(self.model, self.config, num_hypotheses=self.config.train.validate_hypo)
        loader = make_loader(
            self.dataset,
            batch_size=self.config.test.batch_size_per_gpu,
            rank=self.processes.rank,
            world_size=self.processes.world_size,
        )
        batches = predict(loader, sampler, seed=self.seed, device=self.model.betas.device)
        info = SplitInfo(split="validation", dataset=self.config.dataset.dataset, source="")
        result = evaluate(batches, skeleton=self.model.skeleton, info=info, processes=self.processes)
        self.model.train()
        if result is None:
            return {}
        return {
            f"validation/{row}_{metric}": result.rows[row][metric]
            for row in ("best", "mean", "zero_noise")
            for metric in ("mpjpe", "pa_mpjpe")
        }


def save(trainer: Trainer, folder: Path, *, milestone: str = "") -> None:
    """Process 0 writes the full training state, and model-<milestone>.pt before it if there is a name for one."""
    if not trainer.processes.is_main:
        return
    if milestone:
        save_atomic(trainer.model_file(), folder / f"model-{milestone}.pt")
    save_training_state(trainer.state_dict(), folder, step=trainer.step, keep=trainer.config.train.keep)


def evaluate_run(folder: Path, args: argparse.Namespace, processes: Processes) -> int:
    """eval.py on the finished run, with as many processes as trained on this machine; returns its exit code."""
    script = Path(__file__).resolve().with_name("eval.py")
    start = [sys.executable]
    if processes.on_this_machine > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes.on_this_machine}"]
    options = ["--config", folder / "config.yaml", "--device", args.device, "--do_not_use_wandb"]
    return subprocess.run([*start, script, *options], check=False).returncode


# --- from data to new weights


def training_batches(config: Config, dataset: PoseDataset, trainer: Trainer) -> Iterator[dict[str, torch.Tensor]]:
    """This process's part of the global batches, from the trainer's step on."""
    settings, processes = config.train, trainer.processes
    start = trainer.step * settings.gradient_accumulate_every
    own = settings.batch_size_per_gpu
    if settings.on_device:
        sampler = SeededBatchSampler(
            len(dataset),
            own * processes.world_size,
            trainer.seed,
            start,
            settings.shuffle,
            processes.rank,
            processes.world_size,
        )
        rows = ResidentRows.read(dataset, trainer.device, workers=config.workers, show_progress=processes.is_main)
        if processes.is_main:
            tqdm.write(f"{len(dataset):,} rows on {trainer.device}: {rows.maps.nbytes / 2**20:,.0f} MB")
        return rows.batches(sampler)
    batches = iter(
        make_loader(
            dataset,
            batch_size=own * processes.world_size,
            shuffle=settings.shuffle,
            endless=True,
            seed=trainer.seed,
            start_step=start,
            workers=config.workers,
            pin_memory=config.pin_memory and trainer.device.type == "cuda",
            rank=processes.rank,
            world_size=processes.world_size,
        )
    )
    if settings.augment:
        part = slice(processes.rank * own, (processes.rank + 1) * own)
        global_batch = own * processes.world_size
        batches = augmented(batches, seed=trainer.seed, start_batch=start, global_batch=global_batch, part=part)
    return batches


def training_step(trainer: Trainer, batches: Iterator[TrainingBatch]) -> torch.Tensor:
    """From batches to new weights: one step of the optimiser on the mean loss, which is returned, a scalar.

    The batches are those of GRADIENT_ACCUMULATE_EVERY; every process has its own part of them.
    """
    losses = []
    for inputs, target_m, draws in batches:
        with trainer.autocast():
            loss = trainer.model.loss(target_m, inputs, draws) / trainer.config.train.gradient_accumulate_every
        trainer.scaler.scale(loss).backward()
        losses.append(loss.detach())
    loss = trainer.processes.average_gradients(trainer.model.parameters(), torch.stack(losses).sum())
    trainer.move_weights()
    return loss


def fit(
    trainer: Trainer,
    batches: Iterator[dict[str, torch.Tensor]],
    *,
    after_step: Callable[[StepResult], bool | None],
) -> None:
    """Train until NUM_STEPS, or until ``after_step`` returns True in one of the processes.

    ``batches`` yields dicts with target_m (B, J', 3) and heatmap (B, 16, 64, 64), as maps or cell lists, or pose_2d
    (B, P), from the trainer's step on: this process's part of each global batch.
    Raises DiffPoseError that names the step when the loss is not finite.
    """
    trainer.model.train()
    step = trainer.recorded(training_step)
    while trainer.step < trainer.config.train.num_steps:
        rate = trainer.begin_step()  # the learning rate, and the seed of dropout
        loss = step(trainer.next_batches(batches))  # batches -> loss -> gradients -> new weights
        trainer.ema.update()
        trainer.end_step(loss)
        if trainer.processes.any(bool(after_step(StepResult(trainer.step, loss, rate)))):
            break
    trainer.check_losses()


def train(config: Config, trainer: Trainer, dataset: PoseDataset, folder: Path, tracker: Tracker) -> bool:
    """Run the loop with its progress bar, logs, validations and checkpoints; False if it was asked to stop early."""
    settings = config.train
    stop = StopSignal()
    validation = Validation(config, trainer) if settings.validate_every else None
    bar = tqdm(
        total=settings.num_steps,
        initial=trainer.step,
        desc="train",
        unit="step",
        smoothing=0.05,
        disable=not trainer.processes.is_main,
    )
    losses: list[torch.Tensor] = []

    def after_step(result: StepResult) -> bool:
        bar.update()
        losses.append(result.loss)
        if result.step % settings.log_every == 0:
            loss = float(torch.stack(losses).mean())
            losses.clear()
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            tracker.log(result.step, loss=loss, learning_rate=result.learning_rate)
        if validation and result.step % settings.validate_every == 0 and (numbers := validation()):
            tracker.log(result.step, **numbers)
            bar.write(f"step {result.step}: " + ", ".join(f"{name} {value:.1f}" for name, value in numbers.items()))
        if settings.save_every and result.step % settings.save_every == 0 and result.step < settings.num_steps:
            save(trainer, folder, milestone=str(result.step // settings.save_every))
        return stop.asked

    with bar:
        fit(trainer, training_batches(config, dataset, trainer), after_step=after_step)
    return trainer.step >= settings.num_steps


def run(args: argparse.Namespace, config: Config, processes: Processes, device: torch.device) -> tuple[Path, bool]:
    """Train, from the beginning or from where a run was left; returns the run folder and whether it is finished."""
    dataset = training_set(config)
    if not args.no_eval:
        evaluation_set(config, "full")  # better to hear of an unusable test file now than after the training
    tracker = Tracker(
        use_wandb=processes.is_main and not args.do_not_use_wandb,
        config=flatten_config(config) | {"SEED": args.seed},
        project=args.wandb_project,
        entity=args.wandb_entity,
        mode=args.wandb_mode,
        run_name=args.run_name,
    )
    name = args.run_name or tracker.run_id or f"{time.strftime('%Y%m%d-%H%M%S')}_seed{args.seed}"
    folder = Path(f"{config.output_dir}_{name}")
    torch.manual_seed(seed_of(args.seed, "weights"))
    model = build_model(config).to(device)
    if config.train.start_from and not (args.resume and training_states(folder)):
        load_weights(model, config.train.start_from, device=device)
    trainer = build_trainer(model, config, seed=args.seed, processes=processes)
    resume(trainer, folder, wanted=args.resume)
    if processes.is_main:
        open_run_folder(config, name, resume=args.resume)
        clean_up(folder, step=trainer.step)
        tracker.open_folder(folder, step=trainer.step)
        print(f"run folder {folder}, {len(dataset):,} training rows, device {device}", flush=True)
    finished = train(config, trainer, dataset, folder, tracker)
    save(trainer, folder, milestone="final" if finished else "")
    tracker.close()
    if processes.is_main:
        print(
            f"saved {folder / 'model-final.pt'}"
            if finished
            else f"stopped at step {trainer.step}; go on with: --run_name {name} --resume",
            file=sys.stdout if finished else sys.stderr,
            flush=True,
        )
    return folder, finished


def main() -> int:
    args = parse_arguments()
    keep_freed_memory()
    processes = Processes.from_environment()
    config = load_config(args.config, args.set, report=print_warning if processes.is_main else ignore_warning)
    if processes.is_main:
        print(dump_config(config), end="", flush=True)
    if args.dry_run:
        return 0
    device = processes.device(args.device)
    with processes.joined(device), lost_workers_named():
        folder, finished = run(args, config, processes, device)
    if not finished:
        return 130
    if args.no_eval or not processes.is_main:
        return 0
    return evaluate_run(folder, args, processes)


if __name__ == "__main__":
    run_script(main)
