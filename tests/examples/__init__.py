"""Examples of services, each run as its reader would run it."""
