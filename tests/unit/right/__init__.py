"""Unusual but right solutions, one module a lab: RIGHT = {exercise: [function, ...]}.

They stand here and not beside the checks: a learner can import what is in labs/.
"""
