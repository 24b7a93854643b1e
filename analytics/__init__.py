"""Analytics: recordings of flows, and what is learned from them."""
