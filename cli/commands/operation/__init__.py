"""`coord sql` and `coord operation`: statements about operations, and what became of them."""
