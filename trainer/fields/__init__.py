"""The hyperparameters, by section; `trainer.config.TrainConfig` is all of them together.

Every field is a parameter name of a search space. Its description says meaning and unit, its `source` where the method
comes from; `python -m trainer.parameters` writes both to docs/parameters.md.
"""
