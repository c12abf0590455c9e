"""Which job starts next, on which device, and who starts it."""
