"""A queue in n partitions: order is kept within each key, and workers share the partitions."""
