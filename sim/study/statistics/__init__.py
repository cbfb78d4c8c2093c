"""Statistics of studies: intervals, steady state, censored times, rare events, sensitivity."""
