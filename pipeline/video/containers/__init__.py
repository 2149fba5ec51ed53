"""Container formats: whether a file is whole."""
