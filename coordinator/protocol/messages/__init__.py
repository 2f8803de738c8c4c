"""Words that the protocol shares with the store: requests, answers, and the group's record."""
