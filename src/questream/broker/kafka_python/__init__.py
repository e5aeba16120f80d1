"""Everything that speaks to the broker."""
