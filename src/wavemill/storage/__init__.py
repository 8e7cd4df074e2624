"""Where outputs are written: folders and object stores, and what their errors mean."""
