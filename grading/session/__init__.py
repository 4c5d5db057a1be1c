"""The pytest side of grading: a plugin, and two modules of tests.

plugin        how a run begins and ends, and one Marker for each process
submissions   with --submissions FOLDER: one test for each submission
own_notebook  with --notebook FILE: one test for each check of a learner's own notebook
"""
