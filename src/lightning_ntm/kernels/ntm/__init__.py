"""The programs for NTMs, and what they are given."""
