"""Figures: functions that take arrays and give a matplotlib Figure, and neither compute nor read. No torch."""
