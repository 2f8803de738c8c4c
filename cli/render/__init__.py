"""How answers look: tables, documents, units."""
