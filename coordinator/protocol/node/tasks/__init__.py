"""The steps of the package above, for the tasks of a group."""
