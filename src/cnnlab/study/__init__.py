"""Ablations over seeds: `runs` trains, `table` compares, `statistics` has the formulas."""
