"""The published leaderboard: a static site made from a warehouse."""
