"""Reports as JSON documents: the one model of `-o json`, of HTTP and of its OpenAPI description."""
