"""Config.toml as types: every key with its default, unit and sentence."""
