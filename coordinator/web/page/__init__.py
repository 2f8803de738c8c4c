"""The page: one server for browsers, of what another thread reads; needs the extra [web]."""
