"""Pictures: overlays, strips of frames, plots, colours."""
