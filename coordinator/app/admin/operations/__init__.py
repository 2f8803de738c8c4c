"""Statements about operations: their text, and what people ask of operations that exist."""
