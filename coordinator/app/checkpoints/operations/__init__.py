"""The types of operations that work on checkpoints: check_disk, rebuild, rebalance."""
