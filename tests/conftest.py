"""Fixtures that several tests share."""

import os

import numpy as np
import pytest

from tests.helpers import FIXTURES

os.environ.setdefault("WANDB_MODE", "disabled")


@pytest.fixture(scope="session")
def vectors():
    """Load a reference vector file by its stem, as a dict of numpy arrays."""

    def load(stem: str) -> dict[str, np.ndarray]:
        with np.load(FIXTURES / f"{stem}.npz") as file:
            return dict(file)

    return load
