"""The network: backbone, heads, pretrained weights, what is frozen, and its file."""
