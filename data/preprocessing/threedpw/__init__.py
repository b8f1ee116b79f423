"""3D Poses in the Wild."""
