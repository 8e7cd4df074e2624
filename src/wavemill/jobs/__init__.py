"""The table in SQL: which jobs are queued, who works on them, and how they ended.

May use SQLAlchemy and `wavemill.storage`, but no broker, arrays or sound.
"""
