"""MPI-INF-3DHP's test set."""
