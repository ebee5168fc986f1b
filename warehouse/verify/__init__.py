"""Known answers: signals whose energy is known, put through the functions that make joulemark's figures."""
