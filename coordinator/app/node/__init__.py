"""`coord run`: the processes of a node, composed."""
