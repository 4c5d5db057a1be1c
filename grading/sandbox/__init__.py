"""Workers: sandboxed processes that run a submission's code, and the ways to talk to them.

On the side that marks:
    fork_server  starts the process that forks workers, and connects to one worker
    remote       a submission's function, called here and run in a worker
    failures     what can go wrong with a worker, as exceptions
    resources    what a worker uses, and when that is too much

On both sides:
    wire         the format of what goes between the two
    limits       what a worker may use

On the worker's side:
    worker       the process that is forked, and what a worker does
    stub         what stands in the place of the package course
    tiers        how a process shuts itself in; landlock, seccomp and system do the work
"""
