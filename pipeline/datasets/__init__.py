"""Data sets: what a folder contains, how it is split, and how training reads it."""
