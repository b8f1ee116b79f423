"""Reading pictures as people have them: any depth, with or without colour or transparency, turned by EXIF, huge."""

from pathlib import Path

import cv2
import numpy as np

from utils.errors import DiffPoseError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".gif")


def read_image(path: str | Path) -> np.ndarray:
    """A picture as RGB (H, W, 3) uint8, upright; transparent parts become grey.

    Raises DiffPoseError for a missing, empty or unreadable file.
    """
    path = Path(path)
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DiffPoseError(f"{path}: cannot be read ({error.strerror}): give an image, a folder or a video") from None
    if not len(data):
        raise DiffPoseError(f"{path}: the file is empty: copy or download it again")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        if image is not None and not (image.ndim == 3 and image.shape[2] == 4):
            # This flag turns the picture as EXIF says; the one above, needed to see an alpha channel, does not.
            image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise DiffPoseError(f"{path}: cannot be decoded ({error.err}): convert it to JPEG or PNG") from None
    if image is None:
        raise DiffPoseError(f"{path}: not an image that can be decoded: give a JPEG, PNG, WebP, BMP or TIFF file")
    return to_rgb8(image)


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


def images_in(folder: str | Path) -> list[Path]:
    """The picture files of a folder, by name. Raises DiffPoseError when it has none."""
    found = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise DiffPoseError(f"{folder}: no picture in it ({', '.join(IMAGE_SUFFIXES[:5])} ..)")
    return found


def kind_of(path: str | Path) -> str:
    """``folder``, ``video`` or ``image``. Raises DiffPoseError when there is no such file."""
    path = Path(path)
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise DiffPoseError(f"{path}: no such file: give an image, a folder of images or a video with --input")
    return "video" if path.suffix.lower() in VIDEO_SUFFIXES else "image"
