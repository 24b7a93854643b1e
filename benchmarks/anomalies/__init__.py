"""What `benchmarks.nab` scores detectors by."""
