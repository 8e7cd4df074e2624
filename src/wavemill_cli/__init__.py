"""What the commands of producer and worker share: printing, paths, options.

Imports only `wavemill`, click and Rich, so that neither package's commands need the other package.
"""
