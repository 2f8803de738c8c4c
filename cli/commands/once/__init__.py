"""Commands around one run of a program."""
