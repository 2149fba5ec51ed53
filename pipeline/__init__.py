"""The whole project: a room for each thing that can change by itself, and a few single files that all may import."""
