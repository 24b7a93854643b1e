"""What `benchmarks.tuning` simulates: a step with a knob, regimes that follow one another, and the rules beside ours."""
