"""HTTP endpoints of a node, for load balancers and health checks."""
