"""Events of clusters, found in counts alone: one emerges, spikes, falls quiet or comes back."""
