"""What a training run is: spec, data formats, strategies, and the run itself."""
