"""The error of this package that a user can repair: its message is one sentence saying how."""


from lure_jax.errors import UserError


class ConfigError(UserError):
    """A config value, a checkpoint or data that does not fit the run."""
