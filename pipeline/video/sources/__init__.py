"""Live sources of frames."""
