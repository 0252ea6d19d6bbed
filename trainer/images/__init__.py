"""From an image file to pixels on the device: decoding, the cache, and batches."""
