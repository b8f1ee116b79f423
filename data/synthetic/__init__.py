"""The embedded benchmark: a synthetic stand-in for Human3.6M that anyone can make (``python -m data.synthetic``)."""
