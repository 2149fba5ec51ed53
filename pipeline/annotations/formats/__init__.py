"""The layouts of label files that are read, a file for each; `registry` lists them."""
