"""Labels: their meaning, and the files that contain them."""
