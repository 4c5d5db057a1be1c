class GradingError(Exception):
    """Something the instructor can put right. The message is one sentence: what is wrong and what
    to do."""
