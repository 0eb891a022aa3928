"""Private names of Lightning; no other file uses them.

`tests/test_private_names.py` names the version of Lightning with which they were checked.
"""

#: The attribute in which Lightning keeps the name of the hook that runs; there is no public name for it.
NAME_OF_RUNNING_HOOK = "_current_fx_name"
