"""Sweep files to start from; a package so that a wheel holds them."""
