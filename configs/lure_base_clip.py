"""As `lure_base`, with the paper's text: the tokens of CLIP ViT-B/32, frozen (docs/text.md)."""

from configs import lure_base


def get_config():
    config = lure_base.get_config()
    config.model.text = "clip"
    config.model.clip = "openai/clip-vit-base-patch32"
    return config
