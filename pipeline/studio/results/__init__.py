"""What comes out of the studio: scores, time budgets, and labels for other programs."""
