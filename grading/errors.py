class GradingError(Exception):
    """Something the instructor can put right: the message says what is wrong and what to do."""
