"""Worlds of machines whose crontabs start `coord once`."""
