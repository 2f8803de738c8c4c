"""Tables of Config.toml about the short runs beside the program."""
