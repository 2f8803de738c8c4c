"""Directories as one stream of bytes: packing and unpacking."""
