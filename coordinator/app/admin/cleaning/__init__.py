"""Cleaning by people and by nodes: retention, groups that are gone, tokens of dead holders."""
