"""Datasets made fit for training: checked, looked at, mixed, deduplicated, kept apart from the evaluation."""
