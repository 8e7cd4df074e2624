"""Where outputs are written: folders and object stores, staging, and what storage errors mean.

May use fsspec, but no jobs and no SQL.
"""
