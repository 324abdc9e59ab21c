"""The same training step in PyTorch. The modules load without PyTorch being there."""
