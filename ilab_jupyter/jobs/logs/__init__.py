"""Logs and events of an attempt: read by offset, masked, followed, searched and pruned."""
