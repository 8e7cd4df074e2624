"""What the commands of both sides share: printing, paths, options.

Imports only `wavemill`, click and Rich, so that neither side's commands need the other side.
"""
