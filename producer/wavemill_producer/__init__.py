"""The light side: submit jobs, query them, and the command line; never imports TensorFlow."""
