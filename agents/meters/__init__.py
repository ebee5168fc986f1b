"""Meters: one file each. A meter says what it measures, in which scope, how, and reads it."""
