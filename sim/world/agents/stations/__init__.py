"""c-server FIFO stations of the agent plane."""
