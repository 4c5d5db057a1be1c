"""The capstone: adapters handed in, a leaderboard out.

An adapter is data. It is read as numbers (safetensors) and settings (JSON), never unpickled and
never executed, and both are limited in size before they are read.
"""
