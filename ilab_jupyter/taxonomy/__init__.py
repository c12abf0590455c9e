"""What a taxonomy teaches: its leaves, their documents, what has changed, and what is wrong. Light."""
