"""Makes spectrograms with a model, sets their levels and turns them into sound.

Works on arrays only. Uses no jobs, files or SQL.
"""
