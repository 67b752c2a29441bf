"""Everything that is checked is checked from here."""
