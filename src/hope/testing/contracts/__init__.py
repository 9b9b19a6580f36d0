"""Contracts as test classes: subclass one, provide its fixture, and pytest holds an adapter to its port.

Only tests import these modules: they need pytest and Hypothesis, which the package itself does not.
"""
