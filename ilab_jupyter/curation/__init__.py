"""Curation of training data: validation, preview, mixing, deduplication, annotation and leakage checks."""
