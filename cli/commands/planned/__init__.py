"""Commands that ask for planned changes: switchover, resign, pause, drain, priorities."""
