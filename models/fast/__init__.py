"""Same numbers, sooner: replacements of the model's plain layers and of its sampling loop."""
