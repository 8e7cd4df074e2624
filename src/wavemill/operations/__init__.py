"""Operations, their parameters and the names of their outputs. Imports only the standard library."""
