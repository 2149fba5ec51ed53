"""The postprocessing of a model's probabilities: their calibration, and labels without flicker."""
