"""Which trial comes next, and which trial stops early.

Samplers, stopping rules and budgets are functions of the stored trials.
"""
