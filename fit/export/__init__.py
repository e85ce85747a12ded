"""A head and its backbone as one model file, for five runtimes."""
