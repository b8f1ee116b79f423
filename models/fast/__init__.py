"""Same numbers, sooner: replacements of the model's plain layers, of its sampling network and of its training step.

models/build.py puts them in place, and nothing else in models/ knows of them.
"""

from models.fast.layers import use_fast_layers
from models.fast.packed import InferenceNetwork
from models.fast.step_graph import StepRecording, wants_recording

__all__ = ["InferenceNetwork", "StepRecording", "use_fast_layers", "wants_recording"]
