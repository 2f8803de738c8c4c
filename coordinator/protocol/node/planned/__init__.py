"""The steps of the package above, for the planned changes of a group."""
