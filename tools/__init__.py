"""What people run: the `pnmtile` command and its verbs."""
