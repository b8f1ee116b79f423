"""Train and evaluate many configurations and seeds, one process per device; a stopped sweep continues.

``python experiments/sweep.py --configs 'experiments/synthetic/ablations/**/*.yaml' --seeds 42 2967 6173``

A run's report goes to ``<results>/<configuration>/seed<seed>.json`` (five digits per number, without the results of
single actions, which are in the run folder). A run that has a report is skipped; one that was interrupted is resumed
from its last checkpoint. ``--devices cpu cpu`` runs two at a time, each with its share of the cores.
experiments/tables.py makes tables and curves from the reports. With ``--frame_errors ema raw`` a run is evaluated by
experiments/frame_errors.py instead, whose file, with every frame's errors, experiments/claims_report.py reads.
"""

import argparse
import glob
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from experiments.frame_errors import overrides_of, read_errors, read_run
from utils.config import load_config
from utils.errors import DiffPoseError, run_script, seed_number
from utils.evaluation.report import write_text

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATIONS = ROOT / "experiments"


@dataclass(frozen=True)
class Job:
    """One configuration with one seed. ``name`` is the configuration's path below experiments/, without .yaml."""

    config: Path
    name: str
    seed: int

    def report(self, results: Path) -> Path:
        return results / self.name / f"seed{self.seed}.json"


def find_jobs(
    patterns: list[str], seeds: list[int], results: Path, evaluations: Sequence[str] = (), *, whole: bool = False
) -> tuple[list[Job], int]:
    """Jobs without a report, or whose file lacks one of the ``evaluations``, and the number of the others.

    Seed by seed; ``whole``: all seeds of a configuration before the next. Raises DiffPoseError for no match.
    """
    configs: list[Path] = []
    for pattern in patterns:
        found = sorted(Path(path) for path in glob.glob(pattern, recursive=True) if path.endswith(".yaml"))
        if not found:
            raise DiffPoseError(f"--configs {pattern}: no .yaml file matches (quote patterns with **)")
        configs += [path for path in found if path not in configs]
    jobs = []
    pairs = itertools.product(configs, seeds) if whole else ((config, seed) for seed in seeds for config in configs)
    for config, seed in pairs:
        path = config.resolve()
        name = path.relative_to(CONFIGURATIONS) if path.is_relative_to(CONFIGURATIONS) else Path(path.name)
        jobs.append(Job(config, str(name.with_suffix("")), seed))
    waiting = [job for job in jobs if not has_result(job.report(results), evaluations)]
    return waiting, len(jobs) - len(waiting)


def has_result(path: Path, evaluations: Sequence[str]) -> bool:
    """Whether a job's file is there, with all the evaluations by frame asked for."""
    return path.is_file() and (not evaluations or set(evaluations) <= set(read_run(path)["evaluations"]))


def rounded(value):
    """Every number of a report to five significant digits."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def environment(devices: list[str]) -> dict[str, str]:
    """The environment of each run's process: a share of the cores, so that runs on the CPU don't compete."""
    threads = max(1, (os.cpu_count() or 1) // max(1, len(devices)))
    return {"OMP_NUM_THREADS": str(threads), **os.environ}


@dataclass(frozen=True)
class Commands:
    """How jobs are run: the overrides of every configuration, and what a finished training is evaluated by.

    ``evaluations``: those of experiments/frame_errors.py; none for eval.py's report.
    """

    results: Path
    overrides: Sequence[str] = ()
    evaluations: Sequence[str] = ()

    def of(self, job: Job, folder: Path, device: str) -> list[list[str]]:
        """The commands of one job in order; training is left out where the run folder holds it, finished."""
        common = ["--do_not_use_wandb", "--device", device]
        chosen = ["--set", *self.overrides] if self.overrides else []
        run = ["--seed", str(job.seed), "--run_name", f"seed{job.seed}", "--resume", "--no_eval"]
        train = ["train.py", "--config", str(job.config), *run, *common, *chosen]
        saved = str(folder / "config.yaml")
        if not self.evaluations:
            return [train, ["eval.py", "--config", saved, "--no_pictures", *common]]
        by_frame = ["experiments/frame_errors.py", "--config", saved, "--output", str(folder / "frame_errors.json")]
        by_frame += ["--device", device, "--evaluations", *self.evaluations]
        return [by_frame] if is_finished(folder, job.config, self.overrides) else [train, by_frame]

    def report(self, folder: Path) -> dict:
        """What the last command wrote, without the results of single actions."""
        if self.evaluations:
            return read_errors(folder / "frame_errors.json")
        report = json.loads((folder / "report.json").read_text())
        for result in report["results"]:
            del result["groups"]
        return rounded(report)


def is_finished(folder: Path, path: Path, overrides: Sequence[str]) -> bool:
    """Whether the run folder holds the final weights of just this configuration, and nothing to resume."""
    if not (folder / "model-final.pt").is_file() or any(folder.glob("state-*.pt")):
        return False
    saved = load_config(folder / "config.yaml", report=lambda line: None)
    return saved == load_config(path, overrides, report=lambda line: None)


def run_job(job: Job, commands: Commands, device: str, log: Path, env: dict[str, str]) -> None:
    """Train (or resume) and evaluate one job, and write its report with the budget it had.

    Raises DiffPoseError with the last line of the log if a command fails.
    """
    config = load_config(job.config, commands.overrides, report=lambda line: None)
    folder = Path(f"{config.output_dir}_seed{job.seed}")
    start = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    scripts = commands.of(job, folder, device)
    if scripts[0][0] == "train.py":
        (folder / "frame_errors.json").unlink(missing_ok=True)  # of weights that are trained anew
    with open(log, "ab") as output:
        for script, *options in scripts:
            arguments = [sys.executable, str(ROOT / script), *options]
            if subprocess.run(arguments, stdout=output, stderr=subprocess.STDOUT, env=env, check=False).returncode:
                lines = log.read_text(errors="replace").replace("\r", "\n").strip().splitlines()
                raise DiffPoseError(f"{job.name}, seed {job.seed}: {lines[-1] if lines else 'failed'} (log: {log})")
    before = job.report(commands.results)
    spent = read_run(before)["experiment"]["minutes"] if commands.evaluations and before.is_file() else 0
    report = commands.report(folder) | {
        "experiment": {
            "name": job.name,
            "seed": job.seed,
            "steps": config.train.num_steps,
            "batch": config.train.batch_size_per_gpu * config.train.gradient_accumulate_every,
            "minutes": round(spent + (time.monotonic() - start) / 60, 1),
            "device": device,
            "torch": version("torch"),
            "command": f"python experiments/sweep.py --configs {job.config} --seeds {job.seed}"
            + (f" --frame_errors {' '.join(commands.evaluations)}" if commands.evaluations else "")
            + (f" --set {' '.join(commands.overrides)}" if commands.overrides else ""),
        }
    }
    text = json.dumps(report, separators=(",", ":"), allow_nan=False)
    write_text(job.report(commands.results), text + "\n")
    for path in [*folder.glob("state-*.pt"), *folder.glob("model-[0-9]*.pt")]:
        path.unlink()


def work(jobs: "queue.SimpleQueue[Job]", device: str, args: argparse.Namespace, bar: tqdm, failures: list[str]) -> None:
    """Do jobs until none is left; a failure is noted, and the next job begins."""
    while True:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return
        bar.set_postfix_str(f"{job.name}, seed {job.seed}")
        try:
            log = Path(args.results) / job.name / f"seed{job.seed}.log"
            commands = Commands(Path(args.results), args.set, args.frame_errors)
            run_job(job, commands, device, log, environment(args.devices))
        except DiffPoseError as error:
            failures.append(str(error))
        except Exception as error:  # whatever it is, the other jobs are done
            failures.append(f"{job.name}, seed {job.seed}: {error!r}")
        bar.update()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", nargs="+", required=True, help="experiment files or quoted patterns")
    parser.add_argument(
        "--seeds", nargs="+", type=seed_number, default=[42], help="experiments/random_seeds.txt has the paper's"
    )
    parser.add_argument(
        "--devices", nargs="+", default=["auto"], help="one process per device: cpu, or cuda:0 cuda:1 .."
    )
    parser.add_argument("--results", default=str(ROOT / "output" / "sweep"), help="folder of the reports")
    parser.add_argument(
        "--frame_errors", nargs="+", default=[], metavar="EVALUATION", help="keep every frame's errors: ema raw"
    )
    parser.add_argument("--whole", action="store_true", help="all seeds of a configuration before the next")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override keys")
    args = parser.parse_args()
    for evaluation in args.frame_errors:
        overrides_of(evaluation)
    waiting, done = find_jobs(args.configs, args.seeds, Path(args.results), args.frame_errors, whole=args.whole)
    print(f"{len(waiting)} runs to do, {done} done before")
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in waiting:
        jobs.put(job)
    failures: list[str] = []
    with tqdm(total=len(waiting), desc="sweep", unit="run") as bar:
        workers = [
            threading.Thread(target=work, args=(jobs, device, args, bar, failures), daemon=True)
            for device in args.devices
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if failures:
        raise DiffPoseError(f"{len(failures)} of {len(waiting)} runs failed; the first: {failures[0]}")
    return 0


if __name__ == "__main__":
    run_script(main)
