"""Measurements, as ratios against named baselines in one run; `python -m benchmarks` prints them all."""
