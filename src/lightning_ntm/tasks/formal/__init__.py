"""The fifteen tasks of "Neural Networks and the Chomsky Hierarchy" (Delétang et al. 2023, arXiv 2207.02098)."""

from .binary_addition import BinaryAddition as BinaryAddition
from .binary_multiplication import BinaryMultiplication as BinaryMultiplication
from .bucket_sort import BucketSort as BucketSort
from .compute_sqrt import ComputeSqrt as ComputeSqrt
from .cycle_navigation import CycleNavigation as CycleNavigation
from .duplicate_string import DuplicateString as DuplicateString
from .even_pairs import EvenPairs as EvenPairs
from .missing_duplicate import MissingDuplicate as MissingDuplicate
from .modular_arithmetic import ModularArithmetic as ModularArithmetic
from .modular_arithmetic_brackets import ModularArithmeticBrackets as ModularArithmeticBrackets
from .odds_first import OddsFirst as OddsFirst
from .parity_check import ParityCheck as ParityCheck
from .reverse_string import ReverseString as ReverseString
from .solve_equation import SolveEquation as SolveEquation
from .stack_manipulation import StackManipulation as StackManipulation
