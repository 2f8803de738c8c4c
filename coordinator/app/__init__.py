"""Where the store meets the runtime."""
