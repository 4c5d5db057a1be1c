"""Grading: a folder of submitted notebooks becomes marks.

A submission's code runs in a sandboxed process, the worker. The marks are made in another, the
judge. Between the two goes data alone: JSON and the bytes of tensors.

    intake    a folder → submissions            notebook   a notebook → the answers in it, without running any
    worker    runs the answers                  sandbox    what the worker may not do
    wire      what goes between the processes   student    a worker's function, called from the judge
    judge     a submission → a record           records    the records on disk, kept, resumed, compared
    views     records → gradebook, JUnit        feedback   a record → a page for the learner
    lms       records → an LMS's table          table      a CSV file whose single cells change
    run       what a run does, for pytest       text, files, errors: what all of them need
"""
