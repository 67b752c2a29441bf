"""How a tile computes: Amaranth components. Imports only `spec` of the project."""
