"""The process that starts, guards and kills programs."""
