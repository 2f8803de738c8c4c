"""The sender's side of a webhook's deliveries in the database."""
