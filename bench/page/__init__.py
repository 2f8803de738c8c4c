"""The page that is written from what was measured."""
