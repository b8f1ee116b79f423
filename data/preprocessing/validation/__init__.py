"""The check of a finished HDF5 file behind validate.py: rows, 3D poses, and 2D positions with heatmaps."""
