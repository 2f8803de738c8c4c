"""Tables of Config.toml about checkpoints and the disks that they lie on."""
