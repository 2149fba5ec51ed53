"""Encoding: frames and images become features."""
