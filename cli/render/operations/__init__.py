"""Operations for people: tables, documents and progress."""
