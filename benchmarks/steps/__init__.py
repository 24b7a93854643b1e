"""What `benchmarks.operators` measures, piece by piece."""
