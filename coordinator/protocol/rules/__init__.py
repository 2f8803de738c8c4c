"""One file for each letter of the rules: pure arithmetic and comparisons on values."""
