"""The root of all errors that a user can put right."""


class UserError(ValueError):
    """Its message is one sentence: what was given where, and what would be right. Programs show it, not a traceback."""
