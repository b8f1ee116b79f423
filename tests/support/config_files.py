"""Loading configuration files in tests: failures in one line, and loads that report nothing."""

import pytest

from tests.support.helpers import ROOT
from utils.config import load_config
from utils.errors import DiffPoseError

MAIN = ROOT / "diffpose.yaml"


def failure(path, overrides=()) -> str:
    """The message of a load that must fail: a single line."""
    with pytest.raises(DiffPoseError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def quiet(line: str) -> None:
    raise AssertionError(f"nothing should be reported, got: {line}")
