"""Released models: one folder each, with a model card and a licence note of its own."""
