"""What a tile is: formats, description, derived records, commands and registers as data.

This package holds no arithmetic on tensors and imports nothing else of the project.
"""
