"""What the host does: tensors to memory images, commands, the register driver."""
