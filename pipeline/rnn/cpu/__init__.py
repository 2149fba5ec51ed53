"""The recurrent network on a CPU."""
