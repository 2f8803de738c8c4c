"""The service manager (systemd) of a node: messages to it, and its last command."""
