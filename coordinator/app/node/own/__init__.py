"""Parts of a node whose group has one program."""
