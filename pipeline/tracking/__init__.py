"""MLflow, and the tables that compare its runs. MLflow does not report its use, unless the environment asks it to."""

import os

# Set before mlflow is imported. A thread of its own would tell its makers, and look up their address for that. Such a
# look-up reads the environment, and the process crashes where another thread changes it, as `connection.patience` does.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
