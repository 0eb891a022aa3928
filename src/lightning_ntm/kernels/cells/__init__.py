"""The native program for stacks and tapes with a controller of Elman's units."""
