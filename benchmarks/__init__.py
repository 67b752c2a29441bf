"""Measured comparisons; each module runs alone as `python -m benchmarks.<name>`."""
