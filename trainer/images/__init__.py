"""One image file becomes pixels on the device: decoded once, cached, loaded in batches."""
