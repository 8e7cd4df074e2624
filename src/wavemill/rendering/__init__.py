"""Rendering one chunk on one worker: read, make, invert, encode, write, record.

The only package of the core that may use jobs, storage and synthesis together.
"""
