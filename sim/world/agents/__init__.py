"""One million agents as columns: population, workload, stages, kernels."""
