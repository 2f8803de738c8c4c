"""Parts of a node around the start of its programs."""
