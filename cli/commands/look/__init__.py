"""Commands that show groups, nodes, tasks and what happened; none of them changes anything."""
