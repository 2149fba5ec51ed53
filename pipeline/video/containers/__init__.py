"""Container formats: checks whether a file is complete."""
