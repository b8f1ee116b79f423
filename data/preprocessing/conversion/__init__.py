"""What the preprocessing scripts share: raw frames -> detector -> one HDF5 file."""
