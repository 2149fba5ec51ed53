"""MLflow, and the tables that compare its runs."""
