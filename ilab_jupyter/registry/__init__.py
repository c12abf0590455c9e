"""Models, datasets and lineage: what is on disk and where it came from. No torch."""
