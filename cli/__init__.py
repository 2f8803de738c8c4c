"""Command line: parse the arguments, call the app, print its answer, exit."""
