"""Models in the studio: what they say of videos, what is worth a look, and training."""
