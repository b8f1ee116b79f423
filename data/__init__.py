"""HDF5 data: the schema, readers and writers, the dataset and its loader, and the embedded benchmark."""
