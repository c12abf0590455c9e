"""What an attempt tells: its log and events, read by offset, masked, followed, searched, pruned."""
