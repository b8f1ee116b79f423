"""VideoPose3D's pair of npz files -> rows of Human3.6M with heatmaps drawn from keypoints."""
