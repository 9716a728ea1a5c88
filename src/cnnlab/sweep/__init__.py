"""Sweeps: a grid of settings run on Dask workers, each point a DVC experiment from a clone of its own."""
