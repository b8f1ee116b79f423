"""Configuration files to test with."""

from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path):
    """Write a YAML file and give its path."""

    def make(content: str | bytes, name: str = "experiment.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make
