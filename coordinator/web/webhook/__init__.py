"""Requests to a webhook: where they go, what they say, and one of them."""
