"""Decides what runs where and when: command line, plan, schedule, resume."""
