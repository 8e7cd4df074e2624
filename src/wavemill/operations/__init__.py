"""Operations, their parameters and the names of their outputs. No dependency but the standard library."""
