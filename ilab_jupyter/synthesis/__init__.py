"""Synthetic data on instructlab-sdg: teachers, pipelines, progress, resume."""
