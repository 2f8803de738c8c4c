"""Functions of an application that run on a schedule, while its process holds a token."""
