"""Messages between protocol and store: requests, answers, and the group's record."""
