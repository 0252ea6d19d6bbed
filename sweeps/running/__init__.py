"""A sweep in progress: the driver, one trial on its worker, and the values that both exchange."""
