"""The embedded data set: drawn scenes."""
