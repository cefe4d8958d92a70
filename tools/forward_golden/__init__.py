"""The parts of make_forward_golden.py."""
