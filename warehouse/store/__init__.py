"""The store: where files lie, how they are written so that they are whole or not there."""
