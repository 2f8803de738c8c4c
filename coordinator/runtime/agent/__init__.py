"""The process that talks to the database and decides for its node."""
