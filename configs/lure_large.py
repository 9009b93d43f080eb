"""As `lure_base`, with Restormer's depths; recomputes its blocks in the backward pass to fit the memory."""

from configs import lure_base


def get_config():
    config = lure_base.get_config()
    config.model.preset = "large"
    config.model.remat = "blocks"
    return config
