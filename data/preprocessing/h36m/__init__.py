"""Human3.6M as h36m-fetch extracts it."""
