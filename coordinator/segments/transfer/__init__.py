"""Segments between nodes: HTTP over TLS with pinned keys, and a signature on each request."""
