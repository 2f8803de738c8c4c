"""Variables between a node, the launcher of its program, and the program."""

#: Descriptor of the settings, which hold the password: the program does not inherit it.
FD_VARIABLE = "COORD_LAUNCHER_FD"
#: Directory with the last checkpoint.
DIRECTORY_VARIABLE = "COORD_CHECKPOINT_DIR"
