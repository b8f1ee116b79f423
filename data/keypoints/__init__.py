"""Keypoints of any 2D detector: their layouts, their files, and the heatmaps that are drawn from them."""
