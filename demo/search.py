"""Where the person finder looks: the whole picture, parts of it, and both turned.

The finder knows people who stand upright, and of a third of the height of what it looks at or more.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from demo.crops import Square

QUARTER = np.pi / 2
# Side of the larger parts, as a share of the picture's longer side.
_PART = 0.6
TURNS = (0.0, 2 * QUARTER, QUARTER, -QUARTER)


def whole(shape: tuple[int, ...]) -> Square:
    """The square that holds all of a picture of this shape (H, W, ..)."""
    height, width = shape[:2]
    return Square.around(np.array([width / 2, height / 2]), max(height, width))


def parts(shape: tuple[int, ...], side: float) -> list[Square]:
    """Upright squares of this side that cover a picture with overlap."""
    height, width = shape[:2]
    lefts, tops = (
        np.linspace(0, full - side, max(2, round(full / side * 1.5))) if full > side else [(full - side) / 2]
        for full in (width, height)
    )
    return [Square(np.array([left, top]), side) for left, top in itertools.product(lefts, tops)]


def turned(view: Square, angle: float) -> Square:
    """The same part, seen with ``angle`` up."""
    return view._replace(angle=angle)


def stages(shape: tuple[int, ...]) -> Iterator[list[Square]]:
    """What to look at in a picture, one stage after the other.

    The whole and its larger parts; these turned; then smaller parts, and these upside-down.
    """
    large, small = _large(shape), parts(shape, _PART / 2 * max(shape[:2]))
    yield large
    yield [turned(view, angle) for angle in TURNS[1:] for view in large]
    yield small
    yield [turned(view, np.pi) for view in small]


def stages_of_video(shape: tuple[int, ...], step: int, *, is_following: bool) -> Iterator[list[Square]]:
    """The same for a frame of a video, where not everything has to be looked at in every frame.

    ``step``: the frame, counted without gaps; ``is_following``: somebody of the frame before is there.
    """
    large = _large(shape)
    sideways = [turned(view, angle) for angle in TURNS[1:] for view in large]
    if is_following:
        yield [large[step % len(large)], sideways[step % len(sideways)]]
        return
    yield large
    yield sideways[step % 3 :: 3]
    yield [turned(view, TURNS[step % 4]) for view in parts(shape, _PART / 2 * max(shape[:2]))]


def _large(shape: tuple[int, ...]) -> list[Square]:
    return [whole(shape), *parts(shape, _PART * max(shape[:2]))]
