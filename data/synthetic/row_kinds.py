"""What a file says about its rows when they are no recordings."""

ROWS_ATTRIBUTE, INDEPENDENT = "rows", "independent: each its own body, pose and camera"
"""Attribute of ``/dataset`` and its value: subjects are labels without meaning, and rows have no order."""
