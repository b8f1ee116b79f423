"""From raw downloads to the HDF5 files that training reads: the scripts, and the modules behind them."""
