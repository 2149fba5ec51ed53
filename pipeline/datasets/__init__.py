"""Data sets: what a folder holds, how it is split, and what training reads of it."""
