"""What is asked for; pure, no I/O: sweep file, matrix, model facts, traffic, engine command lines."""
