"""The tables of checkpoints and disks, and the rights on them."""
