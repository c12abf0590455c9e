"""Scheduling: which job starts next, on which device, and the processes that start it."""
