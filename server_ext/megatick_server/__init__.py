"""What runs inside Triton: the steps, the CPU engine, and the server's launcher."""
