"""What checks the annotations on every call in tests: beartype, to which a whole number is a number."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
