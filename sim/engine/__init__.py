"""The SimPy loop: build, drivers, clock, run."""
