"""Kernels for the processor, of NumPy arrays, for what runtimes have no operator for.

They are C++ (`kernels/cpu/`), built with the package where a compiler is found. They need NumPy alone.
"""
