"""Ablations: variants of a network over a few seeds, each compared with its baseline.

`runs` trains, `measure` measures one trained network, `table` compares, `statistics` has the formulas. The study builds
on the last three.
"""
