"""Files for the programs around a node: `coord print`."""
