"""Videos and images: from bytes to frames."""
