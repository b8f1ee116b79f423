"""Motion capture (BVH files, DeepMimic clips) -> rows like Human3.6M's."""
