"""Third-party files that the demo needs, taken out of packages that pip downloads, once, into the user's cache.

Nothing of this is part of the repository. Every file is checked against its SHA-256 before it is used.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from utils.cache import cache_folder
from utils.errors import DiffPoseError
from utils.files import renamed_when_whole


@dataclass(frozen=True)
class PackagedFile:
    """A file inside a wheel: ``package`` as name==version, ``member`` its path there, ``licence`` what it is under."""

    package: str
    member: str
    sha256: str
    licence: str

    @property
    def name(self) -> str:
        return Path(self.member).name


PERSON_FINDER = PackagedFile(
    package="mediapipe==0.10.14",
    member="mediapipe/modules/pose_detection/pose_detection.tflite",
    sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    licence="Apache-2.0",
)
LANDMARK_NETWORK = PackagedFile(
    package="mediapipe==0.10.14",
    member="mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
    sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    licence="Apache-2.0",
)
DEMO_VIDEO = PackagedFile(
    package="sports2d==0.8.34",
    member="Sports2D/Demo/demo.mp4",
    sha256="d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039",
    licence="BSD-3-Clause",
)
# The files are the same in every build of a package; this one exists, whatever Python and system run here.
_ANY_WHEEL = ("--no-deps", "--only-binary=:all:", "--platform", "manylinux_2_17_x86_64", "--python-version", "3.11")
_TIMEOUT_S = 300


def fetch(*files: PackagedFile) -> list[Path]:
    """Paths of files in the cache, downloaded with pip where they are missing or damaged.

    Raises DiffPoseError when the cache can't be written, pip can't download, or a file isn't the expected one.
    """
    paths = [cache_folder() / file.name for file in files]
    missing = [file for file, path in zip(files, paths, strict=True) if not _is_intact(path, file)]
    for package in dict.fromkeys(file.package for file in missing):
        _unpack(package, [file for file in missing if file.package == package])
    return paths


def _is_intact(path: Path, file: PackagedFile) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256


def _unpack(package: str, files: list[PackagedFile]) -> None:
    names = " and ".join(file.name for file in files)
    print(f"fetching {names} ({files[0].licence}) from {package} into {cache_folder()}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(package, Path(folder), names)
        try:
            with zipfile.ZipFile(wheel) as archive:
                for file in files:
                    content = archive.read(file.member)
                    if hashlib.sha256(content).hexdigest() != file.sha256:
                        raise DiffPoseError(
                            f"{package}: {file.name} is not the expected file: check your package index"
                        )
                    with renamed_when_whole(cache_folder() / file.name, unique=True) as partial:
                        partial.write_bytes(content)
        except (zipfile.BadZipFile, KeyError) as error:
            raise DiffPoseError(f"{package}: the download can't be used ({error}): check your package index") from None
        except OSError as error:
            raise DiffPoseError(
                f"{cache_folder()}: cannot be written ({error.strerror}): set XDG_CACHE_HOME to a folder of yours"
            ) from None


def _download(package: str, folder: Path, names: str) -> Path:
    """The wheel of a package, without those that it needs."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    command += [*_ANY_WHEEL, "--dest", str(folder), package]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        problem = result.stderr.strip().splitlines()[-1:] if result.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = [type(error).__name__]
    wheels = sorted(folder.glob("*.whl"))
    if problem or not wheels:
        raise DiffPoseError(
            f"the embedded detector's files are not fetched yet ({names}) and pip can't download {package}"
            f" ({''.join(problem) or 'no wheel'}): connect to a network once, or copy them into {cache_folder()}"
        )
    return wheels[0]
