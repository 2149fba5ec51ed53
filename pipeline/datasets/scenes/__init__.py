"""The embedded data set, which consists of drawn scenes."""
