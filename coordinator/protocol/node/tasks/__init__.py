"""The same steps as in the package above, for the tasks of a group."""
