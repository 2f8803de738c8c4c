"""Operations: background work of administrators, as subtasks that nodes claim (rules Q)."""
