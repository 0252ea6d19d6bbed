"""Shows a sweep in W&B, TensorBoard or MLflow: one process per sweep, fed by the driver."""
