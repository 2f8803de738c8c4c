"""HTTP endpoints (empty until the page comes)."""
