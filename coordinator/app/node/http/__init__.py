"""HTTP of a node: its checks at once, and what is read from the database in a thread beside."""
