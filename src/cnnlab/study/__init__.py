"""Ablations over seeds, and the study of long runs.

Ablations: `runs` trains, `table` compares. The study: `plan` reads what params.yaml declares, `session` makes the runs
(`make` one of them, `layers` its maps), `records` keeps them, `claims` and `evidence` judge, `findings` writes. Both:
`statistics` has the formulas.
"""
