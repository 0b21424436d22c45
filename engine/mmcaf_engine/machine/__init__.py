"""What this computer is: its processor, its memory, its GPUs."""
