"""`python -m sim` is `creto-sim`."""

from sim.cli.main import main

if __name__ == "__main__":
    main()
