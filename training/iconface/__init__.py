"""IConFace written plainly in PyTorch: the networks of the model specification, their losses and their files."""
