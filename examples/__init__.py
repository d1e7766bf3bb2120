"""Example programs; run one as ``python3 -m examples.NAME`` from the checkout."""
