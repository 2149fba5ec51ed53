"""The studio: a page in the browser to watch videos, to correct and give labels, and to train again."""
