"""The settings of params.yaml, checked: an unknown key, a wrong type or an impossible value is an error.

Hydra composes `configs/` into params.yaml (`dvc exp run -S labeller=lstm`); each stage reads the sections that dvc.yaml
lists under its `params`. The docstring below a field says what it means, and docs/users/settings.md is made from
these docstrings by docs/make_settings.py. The values are in configs/.
"""
