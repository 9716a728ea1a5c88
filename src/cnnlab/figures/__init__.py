"""Figures: functions that take arrays and give a matplotlib Figure; they compute and read nothing. Never import torch."""
