"""Grading: a folder of submitted notebooks becomes marks.

A submission's code runs in a sandboxed process, the worker. Marks are made in another process,
which runs none of that code. Only data travels between the two: JSON and the bytes of tensors.

The path of one mark:

 1. __main__.grade starts pytest with session/plugin.py, which calls run.plan.
 2. run.plan takes the submissions from lms.intake and leaves out those with a current record.
 3. session/submissions.py is one test for each submission; it calls run.mark with a Marker.
 4. run.mark reads the notebook's bytes and hands them to marking.Marker.mark.
 5. notebook.find_answers finds the answers in them without running any.
 6. marking.Marking takes each exercise and each check; course.py tells it which there are.
 7. For each check, sandbox.fork_server.ForkServer starts a worker, which runs the learner's cells.
 8. course.run_check calls a sandbox.remote.RemoteFunction, which calls the answer in the worker.
 9. The Verdicts become records.record.Marks; run.mark stores them as a Record.
10. run.finish writes all Records as gradebook, feedback pages and more: records.views.

    parts.py    one folder on several machines
    course.py   all that the grader knows of this course   sandbox/  workers, and what binds them
    options.py  the options of a run                       lms/      exports in, gradebooks out
    text.py     hostile text made harmless                 records/  records on disk, their views
    files.py    files written whole                        session/  the pytest side
"""
