"""The study: long runs over seeds that test the reports' claims.

`plan` reads what params.yaml declares, `session` makes the runs (`make` one of them, `layers` its maps), `records`
keeps them, `claims` and `evidence` judge, `findings` writes.
"""
