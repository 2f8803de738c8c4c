"""Operations in the database: what people ask and write, and what the workers of nodes do."""
