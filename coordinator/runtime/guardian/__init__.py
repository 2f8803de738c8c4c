"""The guardian's process, which starts, guards and kills programs."""
