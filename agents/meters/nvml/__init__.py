"""NVIDIA GPUs through NVML. Only ``api`` knows the library; everything else works with what it returns."""
