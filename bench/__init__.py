"""rainbowd compared with its peers: ``python -m bench`` starts them, loads them in turn, and prints one table.

How it is measured, and what it does not show, is in README.md next to this file.
"""
