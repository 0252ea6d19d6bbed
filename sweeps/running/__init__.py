"""A sweep in progress: the driver with its decisions, a trial on its worker, and the messages between them."""
