"""Trainings whose numbers change only on purpose: what each recipe gives from its first batch to its kept weights."""
