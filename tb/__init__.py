"""The proof: cocotb testbenches, memory and bus models, scoreboards."""
