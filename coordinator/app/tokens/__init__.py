"""Tokens for programs in any language: `coord token hold`, and the token service of a node."""
