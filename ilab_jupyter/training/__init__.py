"""What a training run is: arguments, data, strategies, checkpoints. Heavy parts load in `run` only."""
