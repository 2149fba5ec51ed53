"""Labels for videos, finished or live."""
