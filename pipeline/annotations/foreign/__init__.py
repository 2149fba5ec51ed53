"""Annotations in the file formats of other programs, in and out."""
