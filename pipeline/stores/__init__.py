"""Object stores: addresses, and objects that are read by ranges and written whole."""
