"""Results of other tools, taken in with where they come from: one file per format, behind one interface."""
