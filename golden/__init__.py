"""What a tile computes: numpy, bit-exact, no clock. Imports only `spec` of the project."""
