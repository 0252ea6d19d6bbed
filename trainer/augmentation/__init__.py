"""Augmentation: random changes of the training images, different in each epoch.

Each image has its own changes. The images of a batch are changed together, on the device.
"""
