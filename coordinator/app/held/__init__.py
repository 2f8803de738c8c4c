"""Holding of a program that runs under `coord run`."""
