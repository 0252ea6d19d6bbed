"""The network: backbone, heads, pretrained weights, frozen layers, and the file of weights."""
