"""Answers of a node over HTTP: its checks, its metrics, and the documents about its group."""
