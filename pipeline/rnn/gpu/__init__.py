"""This package runs the recurrent network on a GPU."""
