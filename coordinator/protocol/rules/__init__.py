"""Rules of the protocol, one file per letter: pure arithmetic and comparisons on values."""
