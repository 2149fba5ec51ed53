"""The recurrent network on a GPU."""
