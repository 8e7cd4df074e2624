"""Evaluate how models sound on held-out recordings.

Models are compared with the recordings themselves and with inversion alone.
"""
