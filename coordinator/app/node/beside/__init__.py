"""Parts that an agent has beside its machine: the watch for suspends, the token service."""
