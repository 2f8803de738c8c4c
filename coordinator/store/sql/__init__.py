"""How statements are composed, committed and read."""
