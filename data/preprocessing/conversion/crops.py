"""The square around a person, cut out and scaled for the detector."""

import cv2
import numpy as np

from utils.crops import DETECTOR_SIZE, crop_square
from utils.errors import DiffPoseError

_LARGEST_SIDE = 16384


def joint_boxes(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square crops around 2D joints (N, J, 2) in px; joints that are NaN do not count.

    Returns corners (N, 4) int32: left, top, right and bottom, and the side (N,) int32 from which they were rounded.
    Corners may lie outside the image, and may be a pixel closer to each other than the side, since rounding is half to
    even. Raises DiffPoseError for frames without a joint and for joints that no picture can hold.
    """
    joints = np.asarray(joints, dtype=np.float64)
    if not np.isfinite(joints).any(axis=1).all() or np.isinf(joints).any():
        raise DiffPoseError("2D joints that are not finite")
    middle, side = crop_square(joints)
    if side.max(initial=0) > _LARGEST_SIDE or np.abs(middle).max(initial=0) > _LARGEST_SIDE:
        raise DiffPoseError(f"2D joints spread over more than {_LARGEST_SIDE} px: they are not in pixels")
    half = side[:, None] / 2
    corners = np.concatenate([np.round(middle - half), np.round(middle + half)], axis=1)
    return corners.astype(np.int32), side.astype(np.int32)


def detector_image(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The crop ``box`` of a BGR image (H, W, 3) uint8 as the detector wants it: RGB (255, 255, 3) float32 in 0..255.

    Black outside the image. Bilinear with half-pixel centres and without antialiasing. Since the weights of a pixel
    add up to one, normalising afterwards equals normalising before.
    """
    left, top, right, bottom = (int(value) for value in box)
    part = image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if part.shape[0] != bottom - top or part.shape[1] != right - left:
        canvas = np.zeros((bottom - top, right - left, 3), dtype=np.uint8)
        if part.size:
            y, x = max(-top, 0), max(-left, 0)
            canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
        part = canvas
    scaled = cv2.resize(part.astype(np.float32), (DETECTOR_SIZE, DETECTOR_SIZE), interpolation=cv2.INTER_LINEAR)
    return cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB)
