"""Random whole scenarios, the search for one that breaks an invariant, and its smallest form."""
