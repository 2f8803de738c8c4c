"""Removal of what is old, of groups, and of dead holders."""
