"""What labels are, and the files that hold them."""
