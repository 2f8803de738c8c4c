"""`coord once`: one start for each slot in the whole group, without a node that stays."""
