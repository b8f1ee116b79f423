"""Reading pictures as people have them: any depth, with or without colour or transparency, turned by EXIF, huge.

What a file is decides the decoder that can read it, never the name's ending.
"""

import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from demo.heif import heif_hint, heif_turn, turned
from utils.decoders import is_video
from utils.environment import environment_trouble
from utils.errors import DiffPoseError
from utils.input_folders import is_clutter

# Every channel and depth as stored, but turned as EXIF says: that flag is among "unchanged", and so are both orders of
# colours, of which none may be asked for, or the alpha channel is lost.
_AS_STORED_BUT_UPRIGHT = (
    cv2.IMREAD_UNCHANGED & ~cv2.IMREAD_IGNORE_ORIENTATION & ~cv2.IMREAD_COLOR_BGR & ~cv2.IMREAD_COLOR_RGB
)


def read_image(path: str | Path) -> np.ndarray:
    """A picture as RGB (H, W, 3) uint8, upright; transparent parts become grey.

    Raises DiffPoseError for a missing, empty or unreadable file.
    """
    path = Path(path)
    check_readable(path)
    data = path.read_bytes()
    turn = heif_turn(data)  # OpenCV turns as EXIF says, but not as AVIF's own boxes do, which go before it
    flags = _AS_STORED_BUT_UPRIGHT if turn is None else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DiffPoseError(f"{path}: cannot be decoded ({error.err}): convert it to JPEG or PNG") from None
    if image is None:
        what = heif_hint(path) or "give a JPEG, PNG, WebP, BMP or TIFF file"
        raise DiffPoseError(f"{path}: not an image that can be decoded: {what}")
    return to_rgb8(image if turn is None else turned(image, turn))


def to_rgb8(image: np.ndarray) -> np.ndarray:
    """A decoded picture (grey, BGR or BGRA; 8 or 16 bits or float in 0..1) as RGB (H, W, 3) uint8."""
    if image.dtype == np.uint16:
        image = np.round(image / 257.0).astype(np.uint8)
    elif image.dtype != np.uint8:
        top = max(float(np.nanmax(image)), 1.0) if np.isfinite(image).any() else 1.0
        image = np.round(np.nan_to_num(image) / top * 255).clip(0, 255).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image.reshape(image.shape[:2]), cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.float32) / 255
        image = np.round(image[..., :3] * alpha + 127 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(image[..., ::-1])


def check_readable(path: Path) -> None:
    """DiffPoseError, with the true cause, where there is no such file, no content, or no way to read it."""
    problem = _unreadable(path)
    if problem:
        raise DiffPoseError(f"{path}: {problem}")


def _unreadable(path: Path) -> str | None:
    try:
        if path.is_file():
            with path.open("rb") as file:
                return None if file.read(1) else "the file is empty: copy or download it again"
        if path.exists():
            return "neither a file nor a folder: write it to a file first"
        if path.is_symlink():
            return f"a link to {os.readlink(path)}, which does not exist"
        return "no such file: give an image, a folder of images or a video with --input"
    except OSError as error:
        return f"cannot be read ({environment_trouble(error) or error.strerror})"


def num_frames(path: str | Path) -> int:
    """Frames in a file: 0 where image decoders can't read it, 1 for a picture, more for an animation.

    Pages of a TIFF are no frames of an animation.
    """
    path = Path(path)
    if not cv2.haveImageReader(str(path)):
        return 0
    with path.open("rb") as file:
        if file.read(4) in (b"II*\0", b"MM\0*"):
            return 1
    try:
        return max(int(cv2.imcount(str(path))), 1)
    except cv2.error:  # damaged: reading it says how
        return 1


def sort_folder(folder: str | Path) -> tuple[list[Path], list[str]]:
    """The pictures of a folder, by name, and one line for each kind of thing that is left out.

    Raises DiffPoseError when there is no picture, or the folder can't be read.
    """
    pictures, animations, left_out, companions = [], [], [], 0
    try:
        entries = sorted(Path(folder).iterdir())
    except OSError as error:
        raise DiffPoseError(f"{folder}: cannot be read ({environment_trouble(error) or error.strerror})") from None
    for path in entries:
        if is_clutter(path.name):
            companions += 1
            continue
        problem = "a folder" if os.path.isdir(path) else _unreadable(path)
        frames = 0 if problem else num_frames(path)
        if frames > 1:
            animations.append(path.name)
        if frames:
            pictures.append(path)
        else:
            left_out.append(f"{path.name} ({problem or _reason(path)})")
    lines = [f"left out: {', '.join(left_out)}"] if left_out else []
    if companions:
        lines.append(f"passed over: {companions} hidden or system file{'s' * (companions != 1)}")
    if animations:
        lines.append(f"only the first frame is taken of {', '.join(animations)}: give each by itself for all of them")
    if not pictures:
        raise DiffPoseError(f"{folder}: no picture in it that can be read" + "".join(f"; {line}" for line in lines))
    return pictures, lines


def _reason(path: Path) -> str:
    video = "a video: give it by itself"
    return heif_hint(path) or (video if is_video(path) else "not an image that can be decoded")


def images_in(folder: str | Path) -> list[Path]:
    """The pictures of a folder, by name. Raises DiffPoseError when it has none."""
    return sort_folder(folder)[0]


def output_names(paths: list[Path]) -> list[str]:
    """A name for the output of each input, different even where files differ by ending or by case alone."""
    count = Counter(path.stem.casefold() for path in paths)
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name = wanted = path.stem if count[path.stem.casefold()] == 1 else path.name
        number = 2
        while name.casefold() in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names
