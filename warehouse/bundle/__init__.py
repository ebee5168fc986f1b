"""A sweep as one folder or file: taken out with checksums, checked, and brought back."""
