"""What kills, power cuts, full disks and damaged files do to a run, tried on a small checkout.

`python -m bench.faults`.

A try holds when every run that follows says what is wrong by an exit code of its own and no
traceback, a wheelhouse that is there is whole at any time, and the last run, with nothing done by
hand, gives the same files as a run that nothing disturbed.
"""
