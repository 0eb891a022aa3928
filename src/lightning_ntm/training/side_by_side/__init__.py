"""Trainings that differ in nothing but their seed, in one loop of one Trainer.

Each member trains as it would alone: it has its own network, episodes, random states, gradient norm and run folder,
and computes what a run alone computes, with the same bits. Shared are the Trainer, its loop, and the calls of the
optimizer and of the schedule. A member that ends before the others leaves, and the others go on.
"""
