"""Captions for images and videos."""
