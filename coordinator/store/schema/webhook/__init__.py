"""Table and rights of the deliveries to webhooks."""
