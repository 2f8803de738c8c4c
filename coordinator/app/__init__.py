"""Composition of store and runtime to nodes, and to answers for people."""
