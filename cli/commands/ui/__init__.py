"""`coord ui`: the page, as a process of its own that only reads SQL."""
