"""Real nodes and a real database for tests of whole programs."""
