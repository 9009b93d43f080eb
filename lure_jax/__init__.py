"""LURE and SSVIF: infrared-visible image fusion in JAX."""
