"""Scores of "Neural Networks and the Chomsky Hierarchy" (Delétang et al. 2023, arXiv 2207.02098), table 2, in percent.

A score is the share of right symbols, mean over the lengths 41 to 500. The table has the maximum over ten seeds, three
learning rates, and further settings of the Transformer and the Tape-RNN. A score that is not here could not be checked.
Those of Modular Arithmetic (simple), Parity Check, Stack Manipulation, Reverse String, Duplicate String and Odds First
are as a later paper repeats them from the table (DeltaFormer, table 5). The others are stated in the text of the
paper (appendix B.1 and B.3.2), or in notes on it by others (Missing Duplicate and Binary Addition).
"""

#: Class of the network in this package, and its name in the paper.
NETWORKS = {"RNN": "RNN", "StackRNN": "Stack-RNN", "TapeRNN": "Tape-RNN", "Transformer": "Transformer", "LSTM": "LSTM"}
#: What a table of these scores is about.
RANGE, TRAINING_LENGTH = "41-500", 40

_REGULAR = dict.fromkeys(("RNN", "StackRNN", "TapeRNN", "LSTM"), 100.0)


def _row(rnn: float, stack: float, tape: float, transformer: float, lstm: float) -> dict[str, float]:
    return dict(zip(NETWORKS, (rnn, stack, tape, transformer, lstm), strict=True))


#: By task, in the order of the table.
SCORES: dict[str, dict[str, float]] = {
    "EvenPairs": _REGULAR,
    "ModularArithmetic": _row(100.0, 100.0, 100.0, 24.2, 100.0),
    "ParityCheck": _row(100.0, 100.0, 100.0, 52.0, 100.0),
    "CycleNavigation": {**_REGULAR, "Transformer": 61.9},
    "StackManipulation": _row(56.0, 100.0, 100.0, 57.5, 59.1),
    "ReverseString": _row(62.0, 100.0, 100.0, 62.3, 60.9),
    "ModularArithmeticBrackets": {},
    "SolveEquation": {},
    "DuplicateString": _row(50.3, 52.8, 100.0, 52.8, 57.6),
    "MissingDuplicate": {"TapeRNN": 100.0},
    "OddsFirst": _row(51.0, 51.9, 100.0, 52.8, 55.6),
    "BinaryAddition": {"TapeRNN": 100.0},
    "BinaryMultiplication": {},
    "ComputeSqrt": {},
    "BucketSort": {},
}
