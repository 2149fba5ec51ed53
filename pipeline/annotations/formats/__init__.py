"""The layouts of label files that can be read, one module for each; `registry` lists them."""
