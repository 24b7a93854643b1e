"""The parts of `benchmarks.retries`: clients that contend for one resource, and a service that fails for a while."""
