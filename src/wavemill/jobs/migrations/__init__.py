"""Alembic migrations of the table; they ship with the package."""
