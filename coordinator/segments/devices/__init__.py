"""Storage devices: a directory of this machine, its marker, its lock."""
