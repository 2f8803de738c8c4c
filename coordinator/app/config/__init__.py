"""From Config.toml, COORD_* and flags to the settings of a node."""
