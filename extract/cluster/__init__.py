"""Shard tasks on Dask workers, of a cluster or of this machine."""
