"""Examination of this machine, its configuration and its database, before a node is started."""
