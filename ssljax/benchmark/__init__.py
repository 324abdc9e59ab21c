"""How fast a recipe trains here: time, memory, FLOPs, and the same work in PyTorch."""
