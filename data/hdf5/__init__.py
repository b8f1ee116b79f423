"""HDF5 files of poses: our columnar layout, the published tables, the compact form."""
