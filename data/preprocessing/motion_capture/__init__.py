"""Motion capture (BVH) -> rows like Human3.6M's."""
