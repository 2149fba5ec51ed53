"""Frames and images -> features."""
