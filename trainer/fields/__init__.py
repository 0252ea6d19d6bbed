"""The hyperparameters, by section; `trainer.config.TrainConfig` has the fields of all sections.

The name of each field is a parameter name in a search space. The description of a field gives its
meaning and unit, and the `source` names the paper or project of the method. The command
`python -m trainer.parameters` writes both to docs/parameters.md, and the docstring of each section
class as the section's title.
"""
