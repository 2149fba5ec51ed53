"""Probabilities -> labels."""
