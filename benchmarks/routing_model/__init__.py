"""What `benchmarks.routing` simulates: arrivals and sizes, targets, and the policies beside ours."""
