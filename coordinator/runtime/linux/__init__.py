"""Linux: system calls, processes, clocks and channels."""
