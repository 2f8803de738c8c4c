"""The connection of a node to its database, behind the store port."""
