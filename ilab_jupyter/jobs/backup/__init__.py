"""Backup of a state folder in one file, and its restore."""
