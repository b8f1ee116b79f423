"""Train and evaluate many configurations and seeds, one process per device; a stopped sweep continues.

``python experiments/sweep.py --configs 'experiments/synthetic/ablations/**/*.yaml' --seeds 42 2967 6173``

A run's report goes to ``<results>/<configuration>/seed<seed>.json`` (five digits per number, without the results of
single actions, which are in the run folder). A run that has a report is skipped; one that was interrupted is resumed
from its last checkpoint. ``--devices cpu cpu`` runs two at a time, each with its share of the cores.
experiments/tables.py makes tables and curves from the reports.
"""

import argparse
import glob
import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this project's modules before any others

from utils.config import load_config
from utils.errors import DiffPoseError, run_script
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


def find_jobs(patterns: list[str], seeds: list[int], results: Path) -> tuple[list[Job], int]:
    """Jobs without a report, seed by seed, and the number of those that have one. Raises DiffPoseError for no match."""
    configs: list[Path] = []
    for pattern in patterns:
        found = sorted(Path(path) for path in glob.glob(pattern, recursive=True) if path.endswith(".yaml"))
        if not found:
            raise DiffPoseError(f"--configs {pattern}: no .yaml file matches (quote patterns with **)")
        configs += [path for path in found if path not in configs]
    jobs = []
    for seed in seeds:
        for config in configs:
            path = config.resolve()
            name = path.relative_to(CONFIGURATIONS) if path.is_relative_to(CONFIGURATIONS) else Path(path.name)
            jobs.append(Job(config, str(name.with_suffix("")), seed))
    waiting = [job for job in jobs if not job.report(results).is_file()]
    return waiting, len(jobs) - len(waiting)


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


def run_job(job: Job, results: Path, device: str, overrides: list[str], log: Path, env: dict[str, str]) -> None:
    """Train (or resume) and evaluate one job, and write its report with the budget it had.

    Raises DiffPoseError with the last line of the log if a command fails.
    """
    config = load_config(job.config, overrides, report=lambda line: None)
    folder = Path(f"{config.output_dir}_seed{job.seed}")
    chosen = ["--set", *overrides] if overrides else []
    train = [
        "train.py",
        "--config",
        str(job.config),
        "--seed",
        str(job.seed),
        "--run_name",
        f"seed{job.seed}",
        "--resume",
        "--no_eval",
        "--do_not_use_wandb",
        "--device",
        device,
        *chosen,
    ]
    evaluate = [
        "eval.py",
        "--config",
        str(folder / "config.yaml"),
        "--do_not_use_wandb",
        "--no_pictures",
        "--device",
        device,
    ]
    start = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        for command in (train, evaluate):
            arguments = [sys.executable, str(ROOT / command[0]), *command[1:]]
            if subprocess.run(arguments, stdout=output, stderr=subprocess.STDOUT, env=env, check=False).returncode:
                lines = log.read_text(errors="replace").replace("\r", "\n").strip().splitlines()
                raise DiffPoseError(f"{job.name}, seed {job.seed}: {lines[-1] if lines else 'failed'} (log: {log})")
    report = json.loads((folder / "report.json").read_text())
    for result in report["results"]:
        del result["groups"]
    report["experiment"] = {
        "name": job.name,
        "seed": job.seed,
        "steps": config.train.num_steps,
        "batch": config.train.batch_size_per_gpu * config.train.gradient_accumulate_every,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "device": device,
        "torch": version("torch"),
        "command": f"python experiments/sweep.py --configs {job.config} --seeds {job.seed}"
        + (f" --set {' '.join(overrides)}" if overrides else ""),
    }
    text = json.dumps(rounded(report), separators=(",", ":"), allow_nan=False)
    write_text(job.report(results), text + "\n")
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
            run_job(job, Path(args.results), device, args.set, log, environment(args.devices))
        except DiffPoseError as error:
            failures.append(str(error))
        bar.update()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", nargs="+", required=True, help="experiment files or quoted patterns")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[42], help="experiments/random_seeds.txt has the paper's"
    )
    parser.add_argument(
        "--devices", nargs="+", default=["auto"], help="one process per device: cpu, or cuda:0 cuda:1 .."
    )
    parser.add_argument("--results", default=str(ROOT / "output" / "sweep"), help="folder of the reports")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override keys")
    args = parser.parse_args()
    waiting, done = find_jobs(args.configs, args.seeds, Path(args.results))
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
