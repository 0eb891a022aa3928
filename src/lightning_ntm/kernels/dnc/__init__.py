"""The DNC's programs."""
