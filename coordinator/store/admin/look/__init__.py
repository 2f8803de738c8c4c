"""Questions of the commands that show, and change nothing."""
