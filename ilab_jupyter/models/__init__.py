"""What becomes of a model's folder: fetched from a hub, merged, converted, described, sent to a hub."""
