"""Rendering of answers: tables, documents, units."""
