"""How good labels and captions are."""
