"""Images that look different from epoch to epoch: per image, on the device, in batches."""
