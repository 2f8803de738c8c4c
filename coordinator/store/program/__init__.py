"""Writes of programs under the fence of their token."""
